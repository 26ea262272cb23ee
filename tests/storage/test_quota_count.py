import os

import pytest

from storage.directory import open_root
from storage.disk import Disk
from storage.folders import FolderNames, Layout
from storage.quota_count import Counting, count, has_changed
from storage.quota_limit import Usage
from tests.support.quotas import make_maildir, put


@pytest.fixture
def maildir(tmp_path):
    return make_maildir(tmp_path / "box")


def usage(maildir, **rules):
    return count(open_root(Disk(), str(maildir)), Counting(**rules)).usage


def test_new_and_cur_count_and_tmp_does_not(maildir):
    put(maildir, 10, part="new")
    put(maildir, 20)
    put(maildir, 40, part="tmp")

    assert usage(maildir) == Usage(30, 2)


def test_the_size_comes_from_the_name_and_else_from_the_file(maildir):
    named = put(maildir, 10)
    named.write_bytes(b"compressed")
    put(maildir, 20, named=False)
    (maildir / "cur/1.M1P1.host,S=x9:2,").write_bytes(b"abc")

    assert usage(maildir) == Usage(33, 3)


@pytest.mark.parametrize(
    "name", ["1.x,S=5", "1.x,S=5:2,S", "1.x,S=5,W=6", "1.x,S=5,W=6:2,", "1.x,W=6,S=5:2,", "1.x,S=5:1,y"]
)
def test_names_of_all_programs_are_read(maildir, name):
    (maildir / "cur" / name).write_bytes(b"")

    assert usage(maildir) == Usage(5, 1)


def test_what_is_no_message_does_not_count(maildir):
    (maildir / "cur/.hidden").write_bytes(b"abc")
    (maildir / "cur/directory").mkdir()
    (maildir / "cur/link").symlink_to("/etc/passwd")
    (maildir / "dovecot-uidlist").write_bytes(b"abc")

    assert usage(maildir) == Usage(0, 0)


def test_folders_of_maildirpp_count(maildir):
    put(make_maildir(maildir / ".Lists.python"), 10)
    put(make_maildir(maildir / ".Trash"), 20)
    (maildir / ".file").write_bytes(b"")
    (maildir / ".no-maildir").mkdir()
    put(make_maildir(maildir / "visible"), 40)

    assert usage(maildir) == Usage(30, 2)


def test_folders_of_the_layout_fs_count(maildir):
    put(maildir, 1)
    put(make_maildir(maildir / "Lists"), 10)
    put(make_maildir(maildir / "Lists/python"), 20)
    put(make_maildir(maildir / ".hidden"), 40)

    assert usage(maildir, layout=Layout.FS) == Usage(31, 3)


@pytest.mark.parametrize(
    "layout, name", [(Layout.MAILDIRPP, ".B&APw-cher.Alt"), (Layout.FS, "B&APw-cher/Alt")]
)
def test_an_ignored_folder_does_not_count_and_its_neighbours_do(maildir, layout, name):
    put(make_maildir(maildir / name), 10)
    put(make_maildir(maildir / f"{name}{'.' if layout is Layout.MAILDIRPP else '/'}Neu"), 20)

    assert usage(maildir, layout=layout, ignored=frozenset({"Bücher/Alt"})) == Usage(20, 1)


def test_names_may_be_in_utf8(maildir):
    put(make_maildir(maildir / ".Bücher"), 10)
    put(make_maildir(maildir / ".B&APw-cher"), 20)

    assert usage(maildir, names=FolderNames.UTF8, ignored=frozenset({"Bücher"})) == Usage(20, 1)


def test_a_folder_in_somebody_elses_encoding_counts(maildir):
    put(make_maildir(maildir / ".Bücher"), 10)

    assert usage(maildir, ignored=frozenset({"Trash"})) == Usage(10, 1)


@pytest.mark.parametrize(
    "flags, counts", [("S", True), ("", True), ("T", False), ("FRST", False), ("ST", False)]
)
def test_messages_marked_as_deleted_count_as_configured(maildir, flags, counts):
    put(maildir, 10, flags=flags)

    assert usage(maildir) == Usage(10, 1)
    assert usage(maildir, counts_trashed=False) == (Usage(10, 1) if counts else Usage(0, 0))


def test_links_are_not_followed(maildir, tmp_path):
    put(make_maildir(tmp_path / "elsewhere"), 10)
    (maildir / ".link").symlink_to(tmp_path / "elsewhere")

    assert usage(maildir) == Usage(0, 0)


def test_a_change_while_counting_shows(maildir):
    folder = make_maildir(maildir / ".Lists")
    inbox = open_root(Disk(), str(maildir))
    counted = count(inbox, Counting())
    assert not has_changed(inbox, Counting(), counted)

    os.utime(folder / "new", ns=(1, 1))

    assert has_changed(inbox, Counting(), counted)
