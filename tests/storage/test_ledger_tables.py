import os
import sqlite3

import pytest

from storage import ledger_tables as tables
from storage.ledger_tables import Record
from storage.owners import Owner

DEAD = "0123456789abcdef.42.77.00000000"


@pytest.fixture
def connection():
    connection = sqlite3.connect(":memory:")
    for statements in tables.SCHEMA.steps.values():
        for statement in statements:
            connection.execute(statement)
    yield connection
    connection.close()


@pytest.fixture(scope="module")
def me():
    return Owner.of_this_process()


def record(number: int) -> Record:
    return Record(number.to_bytes(32, "big"), f"/srv/mail/{number}", f"tmp-{number}", f"name-{number}")


def contents(connection) -> dict[int, tuple[str, str]]:
    """Return name and owner by number."""
    rows = connection.execute("SELECT key, name, owner FROM records ORDER BY key")
    return {int.from_bytes(key, "big"): (name, owner) for key, name, owner in rows}


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 5, 255, 256, 257, 600])
def test_look_up_finds_exactly_what_is_there(connection, count):
    tables.insert(connection, [record(number) for number in range(0, 600, 2)], "owner")

    found = tables.look_up(connection, [record(number).key for number in range(count)])

    assert sorted(found, key=lambda it: it[0].key) == [(record(n), "owner") for n in range(0, count, 2)]


def test_look_up_compiles_no_more_than_a_few_statements(connection):
    texts = set()
    connection.set_trace_callback(lambda text: texts.add(text.count(",")))

    for count in range(1, 300):
        tables.look_up(connection, [record(number).key for number in range(count)])

    assert len(texts) <= 9


def test_inserting_a_key_twice_is_refused(connection):
    tables.insert(connection, [record(1)], "a")

    with pytest.raises(sqlite3.IntegrityError):
        tables.insert(connection, [record(1)], "b")


def test_only_the_owner_deletes_and_releases(connection):
    tables.insert(connection, [record(number) for number in range(4)], "a")

    tables.delete(connection, [record(0).key], "a")
    tables.delete(connection, [record(1).key], "b")
    tables.release(connection, [record(2).key], "a")
    tables.release(connection, [record(3).key], "b")

    assert contents(connection) == {1: ("name-1", "a"), 2: ("name-2", ""), 3: ("name-3", "a")}


def test_claim_takes_over_and_keeps_the_content(connection):
    tables.insert(connection, [record(1)], "a")

    tables.claim(connection, [record(1).key], "b")

    assert tables.look_up(connection, [record(1).key]) == [(record(1), "b")]
    assert tables.keys_of(connection, "b") == [record(1).key]
    assert tables.keys_of(connection, "a") == []


def test_amend_changes_ones_own_adds_what_is_gone_and_spares_others(connection):
    tables.insert(connection, [record(1)], "a")
    tables.insert(connection, [record(3)], "b")

    tables.amend(connection, [Record(record(n).key, "/other", "t", "new") for n in (1, 2, 3)], "a")

    assert contents(connection) == {1: ("new", "a"), 2: ("new", "a"), 3: ("name-3", "b")}


def test_recover_releases_the_dead_and_only_them(connection, me):
    tables.insert(connection, [record(1)], DEAD)
    tables.insert(connection, [record(2)], str(me))
    tables.insert(connection, [record(3)], "")

    assert tables.recover(connection) == [record(1)]
    assert contents(connection) == {1: ("name-1", ""), 2: ("name-2", str(me)), 3: ("name-3", "")}
    assert tables.recover(connection) == []


def test_prune_spares_the_living_and_the_young(connection, me):
    for number, owner in enumerate([DEAD, "", str(me), DEAD, ""]):
        tables.insert(connection, [record(number)], owner)
    connection.execute("UPDATE records SET created = created - 1000 WHERE name < 'name-3'")

    assert tables.prune(connection, older_than_s=999) == 2
    assert set(contents(connection)) == {2, 3, 4}


def test_prune_forgets_processes_that_were_long_not_seen_alive(connection, me):
    old = Owner(os.urandom(8).hex(), me.pid, me.start_ticks - 1, me.boot)
    recent = Owner(os.urandom(8).hex(), me.pid, me.start_ticks - 1, me.boot)
    for owner in (me, old, recent):
        tables.register(connection, owner)
    connection.execute("UPDATE processes SET seen = seen - 1000 WHERE token <> ?", (recent.token,))

    tables.prune(connection, older_than_s=999)

    assert tables.dead_tokens(connection) == {recent.token}
    ((seen, started),) = connection.execute("SELECT seen, started FROM processes WHERE owner = ?", (str(me),))
    assert seen >= started


def test_registering_again_changes_nothing(connection, me):
    tables.register(connection, me)
    connection.execute("UPDATE processes SET started = 1, seen = 2")

    tables.register(connection, me)

    assert connection.execute("SELECT * FROM processes").fetchall() == [(me.token, str(me), 1, 2)]


def test_process_that_signed_off_is_not_among_the_dead(connection):
    dead = Owner("0123456789abcdef", 42, 77, "00000000")
    tables.register(connection, dead)
    assert tables.dead_tokens(connection) == {dead.token}

    tables.sign_off(connection, dead)

    assert tables.dead_tokens(connection) == frozenset()
