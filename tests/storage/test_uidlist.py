import os
from stat import S_IMODE

import pytest

from storage import uidlist
from storage.uidlist import UidlistUnreadable
from tests.support.scripting import opened

HEAD = "3 V1764000000 N9 G0123abcd"


def write(folder, *lines, head=HEAD):
    (folder / "dovecot-uidlist").write_text("\n".join([head, *lines]) + "\n")


def test_no_list(tmp_path):
    assert uidlist.read(opened(tmp_path)) is None
    assert not uidlist.exists(opened(tmp_path))

    uidlist.rename(opened(tmp_path), {"a": "b"})

    assert not list(tmp_path.iterdir())


def test_a_list_as_dovecot_writes_it(tmp_path):
    write(tmp_path, "1 :a,S=1", "5 W7 S5 Gx :b:2,S", "7 P12 :c d")

    found = uidlist.read(opened(tmp_path))

    assert found is not None
    assert (found.validity, found.next_uid, found.faults) == (1764000000, 9, ())
    assert found.uids == {"a,S=1": 1, "b": 5, "c d": 7}


def test_lines_that_were_appended_behind_an_old_head(tmp_path):
    write(tmp_path, "11 :a")

    found = uidlist.read(opened(tmp_path))

    assert found is not None
    assert (found.next_uid, found.faults) == (12, ())


def test_a_line_that_is_being_written_is_none(tmp_path):
    (tmp_path / "dovecot-uidlist").write_text(f"{HEAD}\n1 :a\n2 :b")

    found = uidlist.read(opened(tmp_path))

    assert found is not None
    assert found.uids == {"a": 1}


@pytest.mark.parametrize("head", ["", "1 V1 N2", "3 V1", "3 N2", "3 Vx N2", "rubbish"])
def test_what_is_no_list(tmp_path, head):
    write(tmp_path, head=head)

    with pytest.raises(UidlistUnreadable):
        uidlist.read(opened(tmp_path))


def test_a_list_without_end(tmp_path, monkeypatch):
    monkeypatch.setattr(uidlist, "LIST_OCTETS", 10)
    write(tmp_path, "1 :a")

    with pytest.raises(UidlistUnreadable, match="more than 10 octets"):
        uidlist.read(opened(tmp_path))


@pytest.mark.parametrize(
    "line, renamed",
    [
        ("1 :old", "1 Gold :new"),
        ("1 W7 S5 :old", "1 Gold :new"),
        ("1 W7 S5 P3 Gown :old", "1 P3 Gown :new"),
        ("1 Gnew :old", "1 :new"),  # its first name again
        ("1 :old:2,S", "1 Gold :new"),
        ("1 :older", "1 :older"),
        ("rubbish", "rubbish"),
    ],
)
def test_a_new_name_keeps_uid_and_guid(tmp_path, line, renamed):
    write(tmp_path, line, "2 :other")
    (tmp_path / "dovecot-uidlist").chmod(0o640)

    uidlist.rename(opened(tmp_path), {"old": "new"})

    assert (tmp_path / "dovecot-uidlist").read_text() == f"{HEAD}\n{renamed}\n2 :other\n"
    assert S_IMODE((tmp_path / "dovecot-uidlist").stat().st_mode) == 0o640
    assert os.listdir(tmp_path) == ["dovecot-uidlist"]


def test_what_a_dead_run_left_is_in_nobodys_way(tmp_path):
    write(tmp_path, "1 :old")
    (tmp_path / "dovecot-uidlist.tmp").write_text("half")

    uidlist.rename(opened(tmp_path), {"old": "new"})

    assert "1 Gold :new" in (tmp_path / "dovecot-uidlist").read_text()


def test_names_that_are_not_utf8(tmp_path):
    (tmp_path / "dovecot-uidlist").write_bytes(HEAD.encode() + b"\n1 :\xff\n")

    uidlist.rename(opened(tmp_path), {"\udcff": "\udcfe"})

    assert (tmp_path / "dovecot-uidlist").read_bytes().endswith(b"1 G\xff :\xfe\n")


def test_a_folder_without_a_list_needs_no_lock(tmp_path):
    with uidlist.locked(opened(tmp_path)):
        assert not list(tmp_path.iterdir())


def test_a_folder_with_one_is_locked(tmp_path):
    write(tmp_path)

    with uidlist.locked(opened(tmp_path)):
        assert (tmp_path / "dovecot-uidlist.lock").exists()
    assert not (tmp_path / "dovecot-uidlist.lock").exists()
