"""Killed at any call of a delivery, or of the recovery behind it, a server tells of each copy all the same.

The sender is kept away by its lock, so what it would be given stays where deliveries put it, in the ledger.
There, once all is settled, each stored copy must have its event, and no event may be about anything else.
And at any moment each 4xx and 5xx that a client has read has one.
"""

import fcntl
import json
import os
import shutil
import sqlite3
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.crash import scenes
from tests.crash.account import Account
from tests.crash.agents import Forked
from tests.crash.books import check_ledger
from tests.crash.nursery import Nursery
from tests.crash.oracle import Kind, LedgerCheck, Mailboxes, StoredFile, Violation
from tests.crash.points import NEVER, Bench, Point, Result
from tests.crash.scenes import Scene, Stage
from tests.crash.shim import Action, Shim

pytestmark = [pytest.mark.crash, pytest.mark.slow]

EVENTS = ("--set", 'events=[{name="dead",socket="/nowhere",kinds=["delivered","refused","deferred"]}]')
SCENES = (
    scenes.ONE,
    scenes.FIRST_CONTACT,
    scenes.THREE,
    scenes.TWICE,
    scenes.LOST_REPLY,
    scenes.READ_MEANWHILE,
    scenes.CACHED,
)


def _send_to_three(stage: Stage) -> None:
    recipients = ("no/body@example.org", "a@example.org", "broken@example.org")
    sent = stage.account.compose(*recipients, octets=4096, doomed=[recipients[0], recipients[2]])
    stage.client.send(sent)
    sent = stage.account.compose(recipients[2], octets=4096, doomed=[recipients[2]])
    stage.client.send(sent)


NOT_SERVED = Scene("recipients that are not served", scenes.THREE.prepare, _send_to_three)


def happened(ledger: Path) -> list[tuple[str | None, str | None, dict[str, Any]]]:
    """Return all events, with their Maildir and file; of JSON."""
    with tempfile.TemporaryDirectory(prefix="lmtpd-events-") as folder:
        for suffix in ("", "-wal"):
            if os.path.exists(f"{ledger}{suffix}"):
                shutil.copyfile(f"{ledger}{suffix}", f"{folder}/copy{suffix}")
        with closing(sqlite3.connect(f"{folder}/copy")) as connection:
            return [
                (maildir, name, json.loads(event))
                for maildir, name, event in connection.execute("SELECT maildir, name, event FROM happened")
            ]


def told(ledger: Path) -> Counter[tuple[Path, str]]:
    """Count the events of each file."""
    return Counter((Path(maildir), name) for maildir, name, _ in happened(ledger) if maildir and name)


def told_of_trouble(ledger: Path) -> Counter[tuple[str, int]]:
    """Count the other events of each recipient and code."""
    return Counter(
        (event["recipient"], int(event["reply"][:3])) for _, name, event in happened(ledger) if name is None
    )


def read_by_clients(account: Account) -> Counter[tuple[str, int]]:
    """Count the 4xx and 5xx that each recipient's mail was answered."""
    return Counter(
        (sent.recipients[place], code)
        for sent in account.sent
        for attempt in sent.attempts
        for place, code in attempt.replies.items()
        if code is not None and code >= 400
    )


def with_events(ledger: Path) -> LedgerCheck:
    """Return the check of the records and, once all is settled, of the events."""
    records = check_ledger(ledger)

    def check(
        account: Account, mailboxes: Mailboxes, files: Sequence[StoredFile], settled: bool
    ) -> list[Violation]:
        violations = records(account, mailboxes, files, settled)
        violations += [
            Violation(Kind.LEDGER, "events", f"no event of {code} for {recipient}")
            for recipient, code in read_by_clients(account) - told_of_trouble(ledger)
        ]
        if settled:
            stored, events = Counter((file.maildir, file.base) for file in files), told(ledger)
            for what, places in (
                ("no event, or too few", stored - events),
                ("an event too many", events - stored),
            ):
                violations += [
                    Violation(Kind.LEDGER, "events", f"{what}: {maildir}/{name}") for maildir, name in places
                ]
        return violations

    return check


@pytest.fixture
def locks() -> Iterator[list[int]]:
    held: list[int] = []
    yield held
    for fd in held:
        os.close(fd)


@pytest.fixture
def bench(shim: Shim, lmtpd_nursery: Nursery, folder_in_memory: Path, locks: list[int]) -> Bench:
    def make(folder: Path, mail: Path, state: Path, scene: Scene) -> Forked:
        state.mkdir(mode=0o700)
        fd = os.open(state / "events.sender", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(fd, fcntl.LOCK_EX)
        locks.append(fd)
        agent = Forked(
            lmtpd_nursery, "lmtpd", folder=folder, mail=mail, state=state, flags=(*EVENTS, *scene.flags)
        )
        agent.ledger = with_events(state / "ledger.db")
        return agent

    for name in ("mail", "state"):
        (folder_in_memory / name).mkdir()
    return Bench(shim, make, mail=folder_in_memory / "mail", state=folder_in_memory / "state")


def assert_all_told(results: Sequence[Result]) -> None:
    broken = [str(result) for result in results if result.violations]
    assert not broken, f"{len(broken)} of {len(results)} points\n" + "\n".join(broken)
    assert len(results) > 10


@pytest.mark.parametrize("scene", SCENES, ids=str)
def test_no_kill_of_a_delivery_loses_its_event(
    bench: Bench, scene: Scene, note: Callable[[Sequence[Result]], None]
) -> None:
    results = list(bench.play_all(scene, Action.KILL))

    note(results)
    assert_all_told(results)


def test_no_kill_loses_the_event_of_a_refusal_that_was_read(
    bench: Bench, note: Callable[[Sequence[Result]], None]
) -> None:
    results = list(bench.play_all(NOT_SERVED, Action.KILL))

    note(results)
    assert_all_told(results)


def test_no_kill_of_the_recovery_loses_it_either(
    bench: Bench, note: Callable[[Sequence[Result]], None]
) -> None:
    calls = bench.play(scenes.ONE, Point(action=Action.KILL, at=NEVER)).calls
    play = partial(bench.play_recovery, scenes.ONE, Action.KILL)
    # Just before the reply the copy is published; recovery has to tell of it, and may be killed over it.
    reply = next(call.number for call in calls if call.other.startswith(b"250 2.0.0 "))

    results = list(play(at=reply))

    note(results)
    assert_all_told(results)
