"""What a shared database does when the disk, a stranger or the file itself is at fault."""

import contextlib
import os
import sqlite3
from pathlib import Path

import pytest

from storage.database import DatabaseDamaged, SharedDatabase, is_damage
from tests.support.word_database import largest_file, miscount_free_pages, opened, put, words_in


def break_a_commit(file: SharedDatabase, path: Path) -> None:
    log = path.with_name(path.name + "-wal")
    with largest_file(log.stat().st_size + 2000), pytest.raises(sqlite3.OperationalError, match="I/O error"):
        put(file, "lost")


def test_bytes_that_are_no_database_are_damage(tmp_path):
    path = tmp_path / "file.db"
    path.write_bytes(b"no database at all" * 1000)

    with opened(path) as file, pytest.raises(sqlite3.DatabaseError) as caught:
        put(file, "one")

    assert is_damage(caught.value)


def test_contradictory_pages_are_damage_found_at_opening(tmp_path):
    path = tmp_path / "file.db"
    with opened(path) as file:
        put(file, "one")
    miscount_free_pages(path)

    with opened(path) as file, pytest.raises(DatabaseDamaged) as caught:
        put(file, "one")

    assert is_damage(caught.value)


def test_page_of_rubbish_is_damage(tmp_path):
    path = tmp_path / "file.db"
    with opened(path) as file:
        put(file, *(f"word-{number:04}" for number in range(1000)))
    with path.open("r+b") as raw:
        raw.seek(4096)
        raw.write(os.urandom(4096 * 3))

    with opened(path) as file, pytest.raises(sqlite3.DatabaseError) as caught:
        put(file, "one")

    assert is_damage(caught.value)


def test_large_file_is_not_read_through_at_opening(tmp_path, monkeypatch):
    path = tmp_path / "file.db"
    with opened(path) as file:
        put(file, "one")
    miscount_free_pages(path)
    monkeypatch.setattr("storage.database._CHECKED_OCTETS", 4096)

    with opened(path) as file:
        put(file, "two")

    assert words_in(path) == ["one", "two"]


@pytest.mark.parametrize(
    "error", [sqlite3.OperationalError("locked"), sqlite3.ProgrammingError("closed"), OSError(5, "I/O error")]
)
def test_other_errors_are_no_damage(error):
    assert not is_damage(error)


def test_foreign_writer_is_waited_for_and_then_an_error(tmp_path):
    path = tmp_path / "file.db"
    with opened(path, busy_timeout_s=0.05) as file:
        put(file, "one")
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as foreign:
            foreign.execute("BEGIN IMMEDIATE")
            with pytest.raises(sqlite3.OperationalError, match="locked"):
                put(file, "two")
            foreign.execute("ROLLBACK")

        put(file, "three")

    assert words_in(path) == ["one", "three"]


def test_foreign_reader_holds_nothing_up(tmp_path):
    path = tmp_path / "file.db"
    with opened(path, busy_timeout_s=0.05) as file:
        put(file, "one")
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as foreign:
            foreign.execute("BEGIN")
            foreign.execute("SELECT * FROM words").fetchall()
            put(file, "two")
            file.give_up()
            put(file, "three")

    assert words_in(path) == ["one", "two", "three"]


def test_commit_that_failed_is_undone_and_the_next_one_works(tmp_path):
    path = tmp_path / "file.db"
    with opened(path) as file:
        put(file, "one")

        break_a_commit(file, path)
        put(file, "two")

        assert words_in(path) == ["one", "two"]


def test_log_with_a_failed_write_is_left_behind_before_anything_follows(tmp_path):
    path = tmp_path / "file.db"
    with opened(path, busy_timeout_s=0.05) as file, opened(path) as other:
        put(other, "one")
        put(file, "two")
        break_a_commit(file, path)

        put(file, "three")

        # What was in the log is in the database itself: only "three" came after.
        (tmp_path / "copy.db").write_bytes(path.read_bytes())
        assert words_in(tmp_path / "copy.db") == ["one", "two"]


def test_log_with_a_failed_write_is_not_continued_while_a_reader_keeps_it(tmp_path):
    path = tmp_path / "file.db"
    with opened(path, busy_timeout_s=0.05) as file:
        put(file, "one")
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT * FROM words").fetchall()
            put(file, "two")
            break_a_commit(file, path)
            with pytest.raises(sqlite3.OperationalError, match="a reader keeps the log"):
                put(file, "three")

        put(file, "four")

    assert words_in(path) == ["one", "two", "four"]


def test_relaxed_transaction_that_fails_does_not_relax_the_next(tmp_path):
    with opened(tmp_path / "file.db") as file:
        file.begin(synced=False)
        file.give_up()

        connection = file.begin()

        assert connection.execute("PRAGMA synchronous").fetchone() == (2,)


def test_nothing_stays_open_after_errors(tmp_path):
    path = tmp_path / "missing" / "file.db"
    with opened(path) as file:
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(3):
            with pytest.raises(FileNotFoundError):
                put(file, "one")
        assert len(os.listdir("/proc/self/fd")) == before

        path.parent.mkdir()
        put(file, "one")

    assert len(os.listdir("/proc/self/fd")) == before
