"""The line that a script appends."""

import pytest

from storage.quota_change import enter_change
from storage.quota_limit import NOTHING, Usage
from tests.support.scripting import opened


@pytest.mark.parametrize("change, line", [(Usage(5, 1), "5 1\n"), (Usage(-7, -2), "-7 -2\n"), (NOTHING, "")])
def test_a_line_is_appended(tmp_path, change, line):
    (tmp_path / "maildirsize").write_text("10S\n100 10\n")

    enter_change(opened(tmp_path), change)

    assert (tmp_path / "maildirsize").read_text() == "10S\n100 10\n" + line


def test_without_a_file_there_is_no_line(tmp_path):
    enter_change(opened(tmp_path), Usage(1, 1))

    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_replaced_meanwhile_gets_no_line_in_the_old_one(tmp_path, monkeypatch):
    (tmp_path / "maildirsize").write_text("10S\n100 10\n")
    gone = iter([True, False])
    monkeypatch.setattr("storage.quota_file.SizeFile.is_gone", lambda _: next(gone))

    enter_change(opened(tmp_path), Usage(5, 1))

    assert (tmp_path / "maildirsize").read_text() == "10S\n100 10\n5 1\n"


def test_a_file_that_is_always_being_replaced_is_left(tmp_path, monkeypatch):
    (tmp_path / "maildirsize").write_text("10S\n100 10\n")
    monkeypatch.setattr("storage.quota_file.SizeFile.is_gone", lambda _: True)

    enter_change(opened(tmp_path), Usage(5, 1))

    assert (tmp_path / "maildirsize").read_text() == "10S\n100 10\n"
