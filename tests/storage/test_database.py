import contextlib
import sqlite3
import stat
import subprocess
from pathlib import Path

import pytest

from storage.database import Schema, _set_up, how_to_set_aside
from tests.support.word_database import SCHEMA, opened, put, words_in


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_file_is_made_with_its_tables_for_our_eyes_only(tmp_path):
    path = tmp_path / "file.db"

    with opened(path) as file:
        put(file, "one")

        assert words_in(path) == ["one"]
        assert {mode_of(it) for it in tmp_path.iterdir()} == {0o600}
        assert sorted(it.name for it in tmp_path.iterdir()) == [
            *("file.db", "file.db-shm", "file.db-wal", "file.db.lock")
        ]


def test_nothing_is_opened_before_it_is_needed(tmp_path):
    with opened(tmp_path / "file.db"):
        pass

    assert not list(tmp_path.iterdir())


def test_mode_of_an_existing_file_is_the_administrators(tmp_path):
    path = tmp_path / "file.db"
    path.touch(0o640)
    path.chmod(0o640)

    with opened(path) as file:
        put(file, "one")

        assert mode_of(path) == mode_of(tmp_path / "file.db-wal") == 0o640


def test_relative_path_survives_a_change_of_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with opened(Path("file.db")) as file:
        monkeypatch.chdir("/")
        put(file, "one")

    assert words_in(tmp_path / "file.db") == ["one"]


def test_tables_are_brought_to_the_newest_version(tmp_path):
    path = tmp_path / "file.db"
    with opened(path) as file:
        put(file, "one")
    newer = Schema(
        name="test",
        steps={**SCHEMA.steps, "shout": ["UPDATE words SET word = upper(word)"]},
    )

    for _ in range(2):
        with opened(path, schema=newer) as file:
            put(file, "two")

    assert words_in(path) == ["ONE", "two", "two"]


def test_version_that_fails_half_way_leaves_the_old_one(tmp_path):
    path = tmp_path / "file.db"
    with opened(path) as file:
        put(file, "one")
    broken = Schema(name="test", steps={**SCHEMA.steps, "broken": ["DELETE FROM words", "nonsense"]})

    with opened(path, schema=broken) as file, pytest.raises(sqlite3.OperationalError):
        put(file, "two")

    assert words_in(path) == ["one"]


def test_transaction_is_undone_by_giving_up(tmp_path):
    path = tmp_path / "file.db"
    with opened(path) as file:
        file.begin().execute("INSERT INTO words VALUES ('lost')")

        file.give_up()
        put(file, "kept")

    assert words_in(path) == ["kept"]


def test_opening_hook_runs_in_a_transaction_of_its_own_at_every_opening(tmp_path):
    path = tmp_path / "file.db"
    hook = lambda connection: connection.execute("INSERT INTO words VALUES ('opened')")  # noqa: E731

    with opened(path, opened=hook) as file:
        put(file, "one")
        put(file, "two")
        file.give_up()
        put(file, "three")

    assert words_in(path) == ["opened", "one", "two", "opened", "three"]


def test_closed_database_stays_closed(tmp_path):
    with opened(tmp_path / "file.db") as file:
        put(file, "one")
        file.close()

        with pytest.raises(sqlite3.ProgrammingError):
            put(file, "two")


@pytest.mark.parametrize("gone", ["file.db", "file.db-wal", "file.db*"])
def test_file_deleted_under_us_is_noticed(tmp_path, gone):
    path = tmp_path / "file.db"
    with opened(path) as file:
        put(file, "before")
        for name in tmp_path.glob(gone):
            name.unlink()

        put(file, "after")

        assert words_in(path)[-1] == "after"
        assert (tmp_path / "file.db-wal").exists()


def test_file_replaced_under_us_is_noticed(tmp_path):
    path, other = tmp_path / "file.db", tmp_path / "other.db"
    with opened(other) as file:
        put(file, "other")
    with opened(path) as file:
        put(file, "before")
        other.rename(path)

        put(file, "after")

    assert words_in(path)[-1] == "after"
    assert "before" not in words_in(path)


def test_every_process_notices_that_the_file_was_deleted(tmp_path):
    path = tmp_path / "file.db"
    with opened(path) as one, opened(path) as other:
        put(one, "before")
        put(other, "before")
        path.unlink()

        put(one, "one")
        put(other, "other")
        put(one, "one again")

        assert words_in(path) == ["one", "other", "one again"]


def test_set_aside_files_are_followed_by_new_ones_and_the_new_lock(tmp_path):
    path = tmp_path / "it's a file.db"
    with opened(path) as one, opened(path) as other:
        put(one, "before")
        put(other, "before")

        subprocess.run(how_to_set_aside(path), shell=True, check=True)
        put(one, "after")
        put(other, "after")

        assert words_in(path) == ["after", "after"]
    (aside,) = (it for it in tmp_path.iterdir() if it.is_dir())
    assert words_in(aside / path.name) == ["before", "before"]


@pytest.mark.parametrize("durable, level", [(True, 2), (False, 1)])
def test_only_transactions_that_ask_for_it_wait_for_the_disk(tmp_path, durable, level):
    with opened(tmp_path / "file.db", durable=durable) as file:
        levels = []
        for synced in (True, False, True, False, True):
            connection = file.begin(synced=synced)
            levels += connection.execute("PRAGMA synchronous").fetchone()
            file.commit()

    assert levels == [level, 1, level, 1, level]


def test_file_system_without_write_ahead_log_is_refused():
    with (
        contextlib.closing(sqlite3.connect(":memory:")) as connection,
        pytest.raises(sqlite3.OperationalError, match="write-ahead log"),
    ):
        _set_up(connection, "FULL")


def test_log_stays_bounded(tmp_path):
    path = tmp_path / "file.db"
    with opened(path) as file:
        for number in range(1500):
            put(file, f"word-{number}", synced=False)

        assert (tmp_path / "file.db-wal").stat().st_size < 5 << 20
