"""Turns at a database: whole or not at all, and errors by their owner's name."""

import sqlite3
from pathlib import Path

import pytest

from storage.database import Schema
from storage.turns import Turns

SCHEMA = Schema(name="test", steps={"one": ["CREATE TABLE it (value INTEGER)"]})


class Trouble(Exception):
    """The owner's error."""


def turns(path: Path) -> Turns:
    return Turns(path, SCHEMA, Trouble, durable=False)


def values(connection: sqlite3.Connection) -> list[int]:
    return [value for (value,) in connection.execute("SELECT value FROM it")]


def test_a_task_that_raises_leaves_nothing_and_the_next_goes_on(tmp_path: Path):
    some = turns(tmp_path / "it.db")

    def fail(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO it VALUES (1)")
        raise ValueError("ours")

    with pytest.raises(ValueError, match="ours"):
        some.take(fail)
    some.take(lambda connection: connection.execute("INSERT INTO it VALUES (2)"), synced=False)

    assert some.take(values) == [2]
    some.close()


def test_errors_have_their_owners_name_and_a_damaged_file_its_command(tmp_path: Path):
    path = tmp_path / "it.db"
    path.write_bytes(b"no database" * 100)

    with pytest.raises(Trouble, match=f"{path} is damaged .*: mkdir .* && mv "):
        turns(path).take(values)
    with pytest.raises(Trouble, match="missing"):
        turns(tmp_path / "missing/it.db").take(values)


def test_after_close_there_are_no_turns(tmp_path: Path):
    some = turns(tmp_path / "it.db")
    some.close()
    some.close()

    with pytest.raises(Trouble, match="closed"):
        some.take(values)
