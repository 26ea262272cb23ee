# Long because it is one table of cases and reads best in one piece.
"""The oracle sees every kind of wrong, and nothing wrong where all is well."""

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest

from storage.ledger import Ledger, Record
from storage.owners import Owner
from tests.crash.account import Account, Attempt, Sent
from tests.crash.books import check_ledger, keys
from tests.crash.oracle import Kind, Mailboxes, Violation, check
from tests.support.maildirs import on_disk
from tests.support.services import deliver, make_service

ANNA = "anna@example.org"
BERT = "bert@example.org"
HEADER = b"Return-Path: <sender@example.org>\nDelivered-To: %s\nReceived: from x\n\tby y with LMTP id z\n"


class Site:
    """An account, and Maildirs that a test fills by hand."""

    def __init__(self, folder: Path) -> None:
        self.account = Account()
        self.mailboxes = Mailboxes(root=folder / "mail")
        self.ledger = folder / "ledger.db"
        for address in (ANNA, BERT):
            for part in ("new", "cur", "tmp"):
                (self.mailboxes.of(address) / part).mkdir(parents=True)

    def sent(
        self,
        *recipients: str,
        replies: Sequence[int | None] = (250,),
        octets: int = 600,
        like: Sent | None = None,
    ) -> Sent:
        """Note one attempt, sent to its end, that was answered so."""
        sent = self.account.compose(*recipients, octets=octets, like=like)
        self.attempt(sent, *replies)
        return sent

    def attempt(self, sent: Sent, *replies: int | None) -> Attempt:
        attempt = Attempt(tuple(range(len(sent.recipients))), dict(enumerate(replies)), completed=True)
        sent.attempts.append(attempt)
        return attempt

    def store(
        self,
        sent: Sent,
        address: str,
        *,
        part: str = "new",
        name: str = "1.M1P1Q1Rab.host,S=1,W=1",
        to: str = "",
    ) -> Path:
        """Put a complete copy of the message into a mailbox."""
        path = self.mailboxes.of(address) / part / name
        path.write_bytes(HEADER % (to or address).encode() + on_disk(sent.message))
        path.chmod(0o600)
        return path

    def record(
        self, name: str, address: str = ANNA, *, released: bool = True, key: bytes | None = None
    ) -> None:
        """Write a record as lmtpd does."""
        key = key or name.encode().ljust(32)[:32]
        ledger = Ledger(self.ledger, Owner.of_this_process(), durable=False)
        ledger.intend([Record(key, str(self.mailboxes.of(address)), name.partition(",")[0], name)])
        if released:
            ledger.release([key])
        ledger.close()

    def check(
        self, *, settled: bool = True, may_stay: bool = False, **more: dict[Path, bytes]
    ) -> list[Violation]:
        ledger = check_ledger(self.ledger) if self.ledger.exists() else None
        return check(
            self.account,
            self.mailboxes,
            settled=settled,
            ledger=ledger,
            may_stay=may_stay,
            planted=more.get("planted"),
        )

    def kinds(self, *, settled: bool = True) -> list[Kind]:
        return [violation.kind for violation in self.check(settled=settled)]


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


# ---- all is well ------------------------------------------------------------------------------------


def test_nothing_sent_and_nothing_stored_is_fine(site):
    assert not site.check()


@pytest.mark.parametrize("octets", [0, 100, 600, 5000])
def test_answered_and_stored_once_is_fine(site, octets):
    site.store(site.sent(ANNA, octets=octets), ANNA)

    assert not site.check()


def test_copy_that_a_reader_has_moved_and_flagged_is_fine(site):
    site.store(site.sent(ANNA), ANNA, part="cur", name="1.M1P1Q1Rab.host,S=1,W=1:2,FS")

    assert not site.check()


def test_two_separate_messages_with_equal_octets_are_two_copies(site):
    first = site.sent(ANNA)
    site.sent(ANNA, like=first)
    site.store(first, ANNA, name="1")
    site.store(first, ANNA, name="2")

    assert not site.check()


def test_same_recipient_twice_is_one_copy(site):
    site.store(site.sent(ANNA, ANNA.upper(), replies=(250, 250)), ANNA)

    assert not site.check()


@pytest.mark.parametrize("copies", [0, 1])
def test_lost_reply_leaves_none_or_one_copy(site, copies):
    sent = site.sent(ANNA, replies=(None,))
    for _ in range(copies):
        site.store(sent, ANNA)

    assert not site.check(settled=False)


def test_lost_reply_and_a_retry_that_was_answered_is_one_copy(site):
    sent = site.sent(ANNA, replies=(None,))
    site.attempt(sent, 250)
    site.store(sent, ANNA)

    assert not site.check()


# ---- copies -----------------------------------------------------------------------------------------


def test_answered_and_not_there_is_lost(site):
    site.sent(ANNA)

    (violation,) = site.check()

    assert str(violation) == "I1 lost: m0 for anna@example.org: answered 250, 0 of 1 copies are there"


def test_answered_and_only_in_tmp_is_lost(site):
    site.store(site.sent(ANNA), ANNA, part="tmp")

    assert site.kinds(settled=False) == [Kind.LOST]


def test_one_of_two_recipients_without_a_copy_is_lost(site):
    site.store(site.sent(ANNA, BERT, replies=(250, 250)), BERT)

    assert site.kinds() == [Kind.LOST]


def test_second_of_two_equal_messages_that_is_not_there_is_lost(site):
    first = site.sent(ANNA)
    site.sent(ANNA, like=first)
    site.store(first, ANNA)

    assert site.kinds() == [Kind.LOST]


def test_two_copies_after_a_retry_are_doubled(site):
    sent = site.sent(ANNA, replies=(None,))
    site.attempt(sent, 250)
    site.store(sent, ANNA, name="1")
    site.store(sent, ANNA, part="cur", name="2:2,S")

    assert site.kinds() == [Kind.DOUBLED]


def test_two_copies_without_a_reply_are_doubled(site):
    sent = site.sent(ANNA, replies=(None,))
    site.store(sent, ANNA, name="1")
    site.store(sent, ANNA, name="2")

    assert site.kinds(settled=False) == [Kind.DOUBLED]


@pytest.mark.parametrize("code", [451, 452])
def test_answered_451_and_stored_is_wrong_unless_syncing_its_directory_may_have_failed(site, code):
    site.store(site.sent(ANNA, replies=(code,)), ANNA)

    assert site.kinds(settled=False) == [Kind.REFUSED]
    assert not site.check(settled=False, may_stay=True)


def test_stored_although_the_client_never_sent_the_end_is_wrong(site):
    sent = site.sent(ANNA, replies=(None,))
    sent.attempts[0].completed = False
    site.store(sent, ANNA)

    assert site.kinds(settled=False) == [Kind.REFUSED]


@pytest.mark.parametrize("octets", [0, 10, 110, 200, 400, 699])
def test_cut_off_copy_is_partial(site, octets):
    sent = site.sent(ANNA, replies=(None,), octets=1000)
    path = site.store(sent, ANNA)
    path.write_bytes(path.read_bytes()[:octets])

    assert site.kinds(settled=False) == [Kind.PARTIAL]


def test_copy_of_nothing_but_nul_is_partial(site):
    path = site.store(site.sent(ANNA, replies=(None,)), ANNA)
    path.write_bytes(bytes(4096))

    assert site.kinds(settled=False) == [Kind.PARTIAL]


def test_one_changed_octet_is_partial_and_the_message_lost(site):
    path = site.store(site.sent(ANNA), ANNA)
    path.write_bytes(path.read_bytes()[:-2] + b"y\n")

    assert site.kinds() == [Kind.LOST, Kind.PARTIAL]


def test_copy_without_the_header_on_top_is_partial(site):
    sent = site.sent(ANNA, replies=(None,))

    site.store(sent, ANNA).write_bytes(on_disk(sent.message))

    assert site.kinds(settled=False) == [Kind.PARTIAL]


def test_file_that_nobody_sent_is_a_stray(site):
    (site.mailboxes.of(ANNA) / "new" / "1").write_bytes(b"Subject: who sent this?\n\n")
    (site.mailboxes.of(ANNA) / "new" / "1").chmod(0o600)

    assert site.kinds() == [Kind.STRAY]


def test_message_in_somebody_elses_mailbox_is_misplaced(site):
    site.store(site.sent(ANNA), BERT, to=ANNA)

    assert site.kinds() == [Kind.LOST, Kind.MISPLACED]


def test_copy_of_the_other_recipient_is_misplaced(site):
    sent = site.sent(ANNA, BERT, replies=(250, 250))
    site.store(sent, ANNA, to=BERT)
    site.store(sent, BERT)

    assert site.kinds() == [Kind.MISPLACED]


# ---- replies ----------------------------------------------------------------------------------------


def test_what_the_client_complains_of_is_reported(site):
    sent = site.sent(ANNA)
    site.store(sent, ANNA)
    sent.attempts[0].complaints.append("two replies for one recipient")

    assert site.kinds() == [Kind.REPLIES]


def test_success_for_a_recipient_that_cannot_have_it_is_wrong(site):
    sent = site.account.compose(ANNA, BERT, doomed=[BERT])
    site.attempt(sent, 250, 250)
    site.store(sent, ANNA)
    site.store(sent, BERT)

    assert site.kinds() == [Kind.REPLIES]


def test_permanent_refusal_of_a_recipient_that_exists_is_wrong(site):
    site.sent(ANNA, replies=(554,))

    assert site.kinds() == [Kind.REPLIES]


@pytest.mark.parametrize("reply", [451, None])
def test_mail_that_is_never_accepted_in_the_end_is_reported(site, reply):
    site.sent(ANNA, replies=(reply,))

    assert site.kinds() == [Kind.UNDELIVERED]
    assert not site.check(settled=False)


# ---- files ------------------------------------------------------------------------------------------


def test_wrong_mode_is_seen(site):
    site.store(site.sent(ANNA), ANNA).chmod(0o644)

    assert site.kinds() == [Kind.ATTRIBUTES]


def test_wrong_owner_is_seen(site):
    site.mailboxes = Mailboxes(root=site.mailboxes.root, owner=site.mailboxes.owner + 1)
    site.store(site.sent(ANNA), ANNA)

    assert site.kinds() == [Kind.ATTRIBUTES]


def test_leftover_in_tmp_is_wrong_once_all_is_settled(site):
    (site.mailboxes.of(ANNA) / "tmp" / "1.M1P1Q1Rab.host").touch()

    assert not site.check(settled=False)
    assert site.kinds() == [Kind.LEFTOVER]


def test_somebody_elses_file_in_tmp_has_to_stay_as_it_is(site):
    path = site.mailboxes.of(ANNA) / "tmp" / "foreign"
    path.write_bytes(b"mine")
    planted = {path: b"mine"}

    assert not site.check(planted=planted)

    path.write_bytes(b"")
    assert [violation.kind for violation in site.check(planted=planted)] == [Kind.DELETED]

    path.unlink()
    assert [violation.kind for violation in site.check(planted=planted)] == [Kind.DELETED]


# ---- the ledger -------------------------------------------------------------------------------------

NAME = "1.M1P1Q1Rab.host,S=1,W=1"


def test_copy_in_doubt_with_its_record_is_fine(site):
    site.store(site.sent(ANNA, replies=(None,)), ANNA, name=NAME)
    site.record(NAME, released=False)

    assert not site.check(settled=False)


def test_copy_in_doubt_without_a_record_is_wrong_even_before_the_retry(site):
    site.store(site.sent(ANNA, replies=(None,)), ANNA, name=NAME)
    site.record("2.M1P1Q1Rab.host,S=1,W=1")

    assert site.kinds(settled=False) == [Kind.LEDGER]


def test_record_of_a_lost_reply_may_stay(site):
    sent = site.sent(ANNA)
    sent.disturbed = True
    sent.attempts[0].confirmed = True
    site.store(sent, ANNA, name=NAME)
    site.record(NAME)

    assert not site.check()


def test_record_of_a_confirmed_delivery_is_wrong(site):
    sent = site.sent(ANNA)
    sent.attempts[0].confirmed = True
    site.store(sent, ANNA, name=NAME)
    site.record(NAME)

    assert site.kinds() == [Kind.LEDGER]


def test_record_without_its_file_is_wrong_once_all_is_settled(site):
    site.record(NAME)

    assert not site.check(settled=False)
    assert site.kinds() == [Kind.LEDGER]


def test_record_of_an_attempt_that_was_abandoned_and_killed_may_stay_without_a_file(site):
    sent = site.sent(ANNA, replies=(None,))
    sent.attempts[0].abandoned = sent.disturbed = True
    site.attempt(sent, 250)
    site.store(sent, ANNA)
    (key,) = keys(sent, sent.attempts[0])
    site.record(NAME.replace("1", "2", 1), key=key)

    assert not site.check()


@pytest.mark.parametrize("abandoned, disturbed", [(True, False), (False, True)])
def test_record_of_any_other_attempt_is_wrong_without_a_file(site, abandoned, disturbed):
    sent = site.sent(ANNA, replies=(None,))
    sent.attempts[0].abandoned, sent.disturbed = abandoned, disturbed
    site.attempt(sent, 250)
    site.store(sent, ANNA)
    (key,) = keys(sent, sent.attempts[0])
    site.record(NAME.replace("1", "2", 1), key=key)

    assert site.kinds() == [Kind.LEDGER]


def test_keys_are_those_that_the_server_writes(tmp_path):
    sent = Account().compose(ANNA, BERT, ANNA, sender="sender@example.net")
    attempt = Attempt((0, 1))
    service = make_service(tmp_path)
    transaction, _ = deliver(service, [ANNA, BERT], sent.message)
    transaction.release()
    service.close()
    with closing(sqlite3.connect(tmp_path / "state/ledger.db")) as connection:
        found = {key for (key,) in connection.execute("SELECT key FROM records")}

    assert set(keys(sent, attempt)) == found
    assert len(set(keys(sent, Attempt((0, 1, 2))))) == 3


def test_record_that_is_still_held_is_wrong_once_all_is_settled(site):
    site.store(site.sent(ANNA), ANNA, name=NAME)
    site.record(NAME, released=False)

    assert site.kinds() == [Kind.LEDGER]


@pytest.mark.parametrize("column, value", [("maildir", "/elsewhere"), ("name", "../../etc/passwd")])
def test_record_that_leads_astray_is_wrong(site, column, value):
    site.record(NAME)
    with closing(sqlite3.connect(site.ledger, isolation_level=None)) as connection:
        connection.execute(f"UPDATE records SET {column} = ?", (value,))

    assert site.kinds(settled=False) == [Kind.LEDGER]


def test_two_records_of_one_file_are_wrong(site):
    site.record(NAME)
    with closing(sqlite3.connect(site.ledger, isolation_level=None)) as connection:
        connection.execute("INSERT INTO records SELECT x'00', maildir, tmp, name, '', 0 FROM records")

    assert site.kinds(settled=False) == [Kind.LEDGER]


def test_damaged_ledger_is_seen(site):
    site.record(NAME)
    data = bytearray(site.ledger.read_bytes())
    data[4096 + 3 : 4096 + 60] = bytes(57)
    site.ledger.write_bytes(data)

    (violation,) = site.check(settled=False)

    assert violation.invariant == "I9"


def test_ledger_that_is_no_database_is_seen(site):
    site.ledger.write_bytes(b"no database at all" * 100)

    assert [violation.invariant for violation in site.check()] == ["I9"]


def test_looking_at_the_ledger_changes_nothing(site):
    site.record(NAME)
    before = {path: path.read_bytes() for path in site.ledger.parent.glob("ledger.db*")}

    site.check(settled=False)

    assert {path: path.read_bytes() for path in site.ledger.parent.glob("ledger.db*")} == before
