"""What is told of deliveries, and when: with the record, and said to have happened before the reply."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from lmtpd.delivery.announcing import Announcer
from lmtpd.delivery.barrier import Verdict
from lmtpd.delivery.intent import Intents
from lmtpd.delivery.rounds import Rounds
from lmtpd.delivery.service import Service
from lmtpd.events.document import delivered
from lmtpd.events.wishes import Wish
from lmtpd.protocol.addresses import Address
from lmtpd.protocol.events import NO_PARAMETERS, RecipientOffered
from lmtpd.report.records import RecipientReport
from storage.ledger_events import HappenedEvents
from tests.support.services import BODY, A, B, Client, begin, codes, deliver, files, make_service


def make(tmp_path: Path, *wishes: Wish, without_ledger: bool = False) -> Service:
    service = make_service(tmp_path)
    announcer = Announcer(service.ledger, wishes or [Wish.of(["delivered"])], service.reporter, token="t")
    intents = Intents(service.ledger, service.maildirs, deliver_without_ledger=without_ledger)
    service.rounds = Rounds(intents, service.reporter, announcer=announcer)
    service.announcer = announcer
    return service


def told(tmp_path: Path) -> list[dict[str, Any]]:  # JSON
    source = HappenedEvents(tmp_path / "state/ledger.db")
    return [
        json.loads(
            delivered(each.event, each.maildir, each.name) if each.maildir and each.name else each.event
        )
        for each in source.look(99)
    ]


def names(tmp_path: Path, *mailboxes: str) -> Sequence[str]:
    return sorted(path.name for mailbox in mailboxes for path in files(tmp_path, f"example.org/{mailbox}"))


def test_each_copy_is_told_of_before_the_first_reply(tmp_path: Path):
    service = make(tmp_path)
    transaction = begin(service, [A, B, A])
    transaction.open_body()
    transaction.write(BODY)

    answers = transaction.deliver(Client(), None)
    next(answers)
    events = told(tmp_path)

    assert [each["file"] for each in sorted(events, key=lambda it: it["file"])] == names(tmp_path, "a", "b")
    assert {each["recipient"] for each in events} == {A, B}
    assert events[0]["message_id"] == "<1@x>"
    assert events[0]["sender"] == "<sender@example.net>"
    assert codes(list(answers)) == [250, 250]


def test_a_retry_that_is_recognised_is_not_told_of_again(tmp_path: Path):
    service = make(tmp_path)
    for _ in range(2):
        transaction, replies = deliver(service, [A], BODY)
        transaction.release()
        assert codes(replies) == [250]

    assert [each["file"] for each in told(tmp_path)] == names(tmp_path, "a")


def test_what_was_not_told_before_a_crash_is_told_at_the_retry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    service = make(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(service.ledger, "happened", lambda *_: None)
        transaction, _ = deliver(service, [A], BODY)
        transaction.release()
    before = told(tmp_path)

    deliver(service, [A], BODY)

    assert before == []
    assert [each["file"] for each in told(tmp_path)] == names(tmp_path, "a")


def test_what_the_client_gave_up_is_not_told_of(tmp_path: Path):
    _, replies = deliver(make(tmp_path), [A], BODY, client=Client(Verdict.GONE))

    assert codes(replies) == [451]
    assert told(tmp_path) == []


def test_what_nobody_wants_is_not_written(tmp_path: Path):
    deliver(make(tmp_path, Wish.of(["delivered"], recipients=[B]), Wish.of(["quota"])), [A, B], BODY)

    assert [each["mailbox"] for each in told(tmp_path)] == [B]


def test_a_failure_to_write_changes_no_reply_and_is_made_good(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    service = make(tmp_path)
    happened = service.ledger.happened

    def fail(keys: Sequence[bytes], notes: Sequence[str]) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(service.ledger._file, "commit", _no_space)
            happened(keys, notes)

    monkeypatch.setattr(service.ledger, "happened", fail)

    transaction, replies = deliver(service, [A], BODY)
    before = told(tmp_path)
    transaction.confirm()
    service.ledger.flush()

    assert (codes(replies), before) == ([250], [])
    assert [each["file"] for each in told(tmp_path)] == names(tmp_path, "a")


def test_a_delivery_without_the_ledger_is_told_of_when_it_can_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    service = make(tmp_path, without_ledger=True)

    with monkeypatch.context() as patch:
        patch.setattr(service.ledger._file, "commit", _no_space)
        _, replies = deliver(service, [A], BODY)
    service.ledger.flush()

    assert codes(replies) == [250]
    assert [each["file"] for each in told(tmp_path)] == names(tmp_path, "a")


def test_a_refusal_is_told_of_before_its_reply(tmp_path: Path):
    service = make(tmp_path, Wish.of(["refused", "deferred"]))
    transaction = begin(service, [A])
    nobody = "no/body@example.org"

    reply = transaction.offer(
        RecipientOffered(Address("no/body", "example.org"), nobody.encode(), NO_PARAMETERS)
    )

    assert reply.code == 550
    assert [(each["kind"], each["mailbox"]) for each in told(tmp_path)] == [("refused", nobody)]


def test_who_is_not_served_is_told_of_before_the_first_reply(tmp_path: Path):
    service = make(tmp_path, Wish.of(["deferred"]))
    transaction = begin(service, [A, B, B])
    transaction.open_body()
    transaction.write(BODY)
    shutil.rmtree(tmp_path / "mail/example.org/b")

    answers = transaction.deliver(Client(), None)
    first = next(answers)
    events = told(tmp_path)

    assert [first.code, *codes(list(answers))] == [250, 451, 451]
    assert [(each["mailbox"], each["reply"][:3]) for each in events] == [(B, "451")] * 2
    assert told(tmp_path) == events


def test_what_the_client_gave_up_is_told_of_as_deferred(tmp_path: Path):
    _, replies = deliver(make(tmp_path, Wish.of(["deferred"])), [A], BODY, client=Client(Verdict.GONE))

    assert codes(replies) == [451]
    assert [each["cause"] for each in told(tmp_path)] == ["client_gone"]


def test_what_cannot_be_written_for_long_is_dropped_and_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    service = make(tmp_path, Wish.of(["refused"]))
    monkeypatch.setattr("lmtpd.delivery.announcing.UNWRITTEN", 2)
    announcer, lines = service.announcer, []
    assert announcer is not None
    monkeypatch.setattr(service.reporter, "event", lambda _, name, **fields: lines.append((name, fields)))
    report = RecipientReport(at=1.0, id="t1", recipient=A, outcome="refused", reply="550 5.1.1 x")

    with monkeypatch.context() as patch:
        patch.setattr(service.ledger._file, "commit", _no_space)
        for _ in range(5):
            announcer.refused([report])
    announcer.refused([report])

    assert len(told(tmp_path)) == 3
    assert [name for name, _ in lines] == ["events_delayed", "events_dropped"]
    assert lines[1][1]["count"] == 3


def test_refusals_are_told_of_as_the_log_does(tmp_path: Path):
    service = make(tmp_path, Wish.of(["refused"]))
    assert service.announcer is not None
    reports = [
        RecipientReport(at=1.0, id="t1", recipient=A, outcome=outcome, reply="550 5.1.1 x", cause="unknown")
        for outcome in ("refused", "deferred", "delivered", "refused")
    ]

    service.announcer.refused(reports)

    events = told(tmp_path)
    assert [(each["kind"], each["mailbox"], each["cause"]) for each in events] == [
        ("refused", A, "unknown")
    ] * 2
    assert events[0]["id"] != events[1]["id"]
    assert events[0]["sender"] == "<>"


def _no_space() -> None:
    raise OSError(28, "No space left on device")


def test_a_bug_in_telling_is_reported_and_reaches_no_reply(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    service = make(tmp_path, Wish.of(["deferred"]))
    bugs: list[BaseException] = []

    def broken(*_: object) -> str:
        raise ZeroDivisionError

    monkeypatch.setattr("lmtpd.delivery.announcing.composed", broken)
    monkeypatch.setattr(service.reporter, "bug", lambda exc, **_: bugs.append(exc))
    assert service.announcer is not None
    service.announcer.refused(
        [RecipientReport(at=1.0, id="1", recipient=A, outcome="deferred", reply="451 4.3.0 No", sender="")]
    )

    assert [type(bug) for bug in bugs] == [ZeroDivisionError]
    assert told(tmp_path) == []
