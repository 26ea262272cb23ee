"""Keywords and their letters."""

import os
from string import ascii_lowercase

import pytest

from storage.dotlock import Locked
from storage.errors import StorageError
from storage.keywords import courier_keywords, enter, is_keyword, keywords
from tests.support.scripting import opened


@pytest.fixture
def folder(tmp_path):
    return opened(tmp_path)


def test_no_list_has_no_keywords(folder):
    assert keywords(folder) == {}
    assert courier_keywords(folder) == {}


def test_lines_that_are_none_are_passed_over(folder, tmp_path):
    (tmp_path / "dovecot-keywords").write_text("0 a\nx\n25 z\n26 too\n1 two words\n\n3 c")

    assert keywords(folder) == {"a": "a", "z": "z", "d": "c"}


def test_new_keywords_get_free_letters_and_old_ones_stay(folder, tmp_path):
    path = tmp_path / "dovecot-keywords"
    path.write_text("1 old\n")
    path.chmod(0o640)
    before = path.stat()

    assert enter(folder, ["new", "old", "new", "also"]) == {"new": "a", "old": "b", "also": "c"}

    assert path.read_text() == "0 new\n1 old\n2 also\n"
    assert path.stat().st_mode & 0o777 == 0o640
    assert int(path.stat().st_mtime) > int(before.st_mtime), "Dovecot looks at the second only"
    assert os.listdir(tmp_path) == ["dovecot-keywords"]


def test_known_keywords_change_nothing(folder, tmp_path):
    path = tmp_path / "dovecot-keywords"
    path.write_text("1 old\n")
    before = path.stat().st_ino

    assert enter(folder, ["old"]) == {"old": "b"}
    assert enter(folder, []) == {}

    assert path.stat().st_ino == before


def test_there_are_26_letters(folder):
    wanted = [f"k{number}" for number in range(30)]

    letters = enter(folder, wanted)

    assert letters == dict(zip(wanted, ascii_lowercase, strict=False))
    assert enter(folder, ["k29", "k0"]) == {"k0": "a"}


@pytest.mark.parametrize("name", ["", "a b", "a\n", "a(", "a\\", 'a"', "ä", "x" * 101, "a{"])
def test_what_is_no_keyword_is_left_out(folder, name):
    assert not is_keyword(name)
    assert enter(folder, [name]) == {}


def test_the_lock_is_dovecots(folder, tmp_path):
    (tmp_path / "dovecot-keywords.lock").write_text(f"{os.getppid()}:elsewhere")

    with pytest.raises(Locked):
        enter(folder, ["a"], wait_s=0)

    assert not (tmp_path / "dovecot-keywords").exists()


def test_what_was_being_written_is_written_anew(folder, tmp_path):
    (tmp_path / "dovecot-keywords.tmp").write_text("torn")

    assert enter(folder, ["a"]) == {"a": "a"}
    assert (tmp_path / "dovecot-keywords").read_text() == "0 a\n"


def test_courier(folder, tmp_path):
    (tmp_path / "courierimapkeywords").mkdir()
    (tmp_path / "courierimapkeywords" / ":list").write_text("one\ntwo\n\n1.x,S=3:0 1\n2.x:1 7 x\nnonsense\n")

    assert courier_keywords(folder) == {"1.x,S=3": ("one", "two"), "2.x": ("two",)}


@pytest.mark.parametrize(
    "limit, name, read",
    [
        ("FILE_OCTETS", "dovecot-keywords", keywords),
        ("COURIER_OCTETS", "courierimapkeywords/:list", courier_keywords),
    ],
)
def test_what_is_too_large_is_no_list(folder, tmp_path, monkeypatch, limit, name, read):
    monkeypatch.setattr(f"storage.keywords.{limit}", 10)
    (tmp_path / "courierimapkeywords").mkdir()
    (tmp_path / name).write_bytes(b"\n" * 10)
    assert read(folder) == {}

    with (tmp_path / name).open("ab") as file:
        file.write(b"\n")
    with pytest.raises(StorageError, match="more than 10 octets"):
        read(folder)
