from dataclasses import replace

import pytest

from lmtpd.delivery.barrier import Verdict
from lmtpd.delivery.headings import SingleInstance
from lmtpd.delivery.peer import Peer
from lmtpd.delivery.quota import Quotas
from lmtpd.delivery.service import Commit
from lmtpd.delivery.transaction import Transaction
from lmtpd.recipients.mailbox import Mailbox
from storage.disk import Disk
from storage.folders import Layout
from storage.maildir import MaildirPath
from storage.names import NameSource
from storage.quota import QuotaFiles
from storage.quota_limit import UNLIMITED, QuotaLimit
from storage.quota_state import QuotaState
from tests.support.quotas import lines_of, make_maildir, put
from tests.support.services import (
    BODY,
    ENVELOPE,
    LARGE,
    A,
    B,
    Client,
    KeptReports,
    codes,
    deliver,
    files,
    leftovers,
    make_service,
    offered,
    quota_rules,
)

BOX_A = "example.org/a"
DAY_S = 86_400.0


@pytest.fixture
def box(tmp_path):
    return make_maildir(tmp_path / "mail" / BOX_A)


def ask(service, recipient, size):
    transaction = Transaction(service, Peer("unix", trusted=True), replace(ENVELOPE, size=size))
    return transaction.offer(offered(recipient))


# ---- at RCPT


@pytest.mark.parametrize("size, code", [(None, 250), (0, 250), (100, 250), (101, 452)])
def test_rcpt_is_answered_by_what_mail_announced(tmp_path, box, size, code):
    put(box, 900)

    reply = ask(make_service(tmp_path, quota=quota_rules("1000")), A, size)

    assert reply.code == code


@pytest.mark.parametrize(
    "patience_s, code, status", [(None, 452, "4.2.2"), (0.0, 552, "5.2.2"), (3 * DAY_S, 452, "4.2.2")]
)
def test_a_full_mailbox_is_answered_as_configured(tmp_path, box, patience_s, code, status):
    put(box, 1001)
    service = make_service(tmp_path, quota=quota_rules("1000", patience_s=patience_s))

    reply = ask(service, A, None)

    assert (reply.code, reply.status) == (code, status)
    assert isinstance(service.reporter, KeptReports)
    report = service.reporter.reports[0]
    assert (report.cause, report.outcome) == ("quota", "deferred" if code == 452 else "refused")
    assert "1001 octets in 1 messages of 1000 are used" in report.detail


def test_a_mailbox_that_is_yet_to_be_made_is_empty(tmp_path):
    service = make_service(tmp_path, quota=quota_rules("1000"))

    assert ask(service, A, 1000).code == 250
    assert ask(service, A, 1001).code == 452
    assert not (tmp_path / "mail" / BOX_A).exists()


def test_storage_that_fails_is_no_full_mailbox(tmp_path, box):
    (box / "maildirsize").mkdir()

    assert ask(make_service(tmp_path, quota=quota_rules("1000", patience_s=0.0)), A, None).code == 451


# ---- limits


def mailbox_of(tmp_path, quota=None, folder=None):
    return Mailbox(
        user="a",
        address=A,
        maildir=MaildirPath(str(tmp_path), ("box",)),
        layout=Layout.MAILDIRPP,
        folder=folder,
        create=False,
        create_folder=False,
        quota=quota,
    )


def quotas_of(tmp_path, rules, clock=lambda: 0.0):
    files_ = QuotaFiles(Disk(), NameSource("mx", "a1"))
    return Quotas(files_, rules, QuotaState(tmp_path / "quota.db"), clock=clock)


class Untouched(Disk):
    def __getattribute__(self, name):
        raise AssertionError(f"{name} was called")


@pytest.mark.parametrize(
    "default, own, limit",
    [
        ("1000", None, QuotaLimit(1000)),
        ("1000", QuotaLimit(5), QuotaLimit(5)),
        ("0", QuotaLimit(5), QuotaLimit(5)),
        (None, QuotaLimit(5), QuotaLimit(5)),
        (None, None, None),
    ],
)
def test_a_users_own_limit_precedes_the_default(tmp_path, default, own, limit):
    box = quotas_of(tmp_path, quota_rules(default)).box_of(mailbox_of(tmp_path, own))

    assert box is not None
    assert box.limit == limit


@pytest.mark.parametrize(
    "default, own", [("0", None), ("0", UNLIMITED), ("1000", UNLIMITED), (None, UNLIMITED)]
)
def test_without_a_limit_nothing_is_asked_of_the_disk(tmp_path, default, own):
    quotas = Quotas(
        QuotaFiles(Untouched(), NameSource("mx", "a1")), quota_rules(default), QuotaState(tmp_path / "q.db")
    )
    mailbox = mailbox_of(tmp_path, own)

    assert quotas.refusal(mailbox, 100) is None
    assert quotas.reserve(mailbox, None, 100) is None
    assert quotas.look(mailbox, 100) is None
    assert not (tmp_path / "q.db").exists()


def test_a_folder_may_be_an_exception(tmp_path, box):
    put(box, 1000)
    rules = quota_rules("1000", ignored=frozenset({"Spam"}), extras={"Trash": QuotaLimit(50)})
    for name in (".Spam", ".Trash", ".Other"):
        make_maildir(box / name)
    service = make_service(tmp_path, quota=rules)

    answers = {name: ask(service, f"a+{name}@example.org", 50).code for name in ("Spam", "Trash", "Other")}

    assert answers == {"Spam": 250, "Trash": 250, "Other": 452}
    assert ask(service, "a+Trash@example.org", 51).code == 452


# ---- with the delivery


def test_a_delivery_enters_what_it_has_stored(tmp_path, box):
    service = make_service(tmp_path, quota=quota_rules("1M"))

    _, replies = deliver(service, [A], BODY)

    (stored,) = files(tmp_path, BOX_A)
    assert codes(replies) == [250]
    assert lines_of(box) == ["1048576S", "0 0", f"{stored.stat().st_size} 1"]


@pytest.mark.parametrize("body", [BODY, LARGE])
def test_what_does_not_fit_is_that_recipients_alone(tmp_path, box, body):
    put(box, 1000)
    make_maildir(tmp_path / "mail/example.org/b")
    rules = quota_rules("0")
    service = make_service(tmp_path, quota=rules)
    find = service.directory.find

    def find_with_quota(address):
        found = find(address)
        assert isinstance(found, Mailbox)
        return replace(found, quota=QuotaLimit(1001)) if found.user == "a" else found

    service.directory.find = find_with_quota  # type: ignore[method-assign]  # a source that knows quotas

    _, replies = deliver(service, [A, B, A], body)

    assert codes(replies) == [452, 250, 452]
    assert files(tmp_path, BOX_A) == []
    assert len(files(tmp_path, "example.org/b")) == 1
    assert leftovers(tmp_path) == []
    assert lines_of(box) == ["1001S", "1000 1"]


def test_a_refusal_after_the_message_has_come_is_final_where_configured(tmp_path, box):
    put(box, 1000)

    _, replies = deliver(make_service(tmp_path, quota=quota_rules("1001", patience_s=0.0)), [A], BODY)

    assert [(reply.code, reply.status) for reply in replies] == [(552, "5.2.2")]


def test_what_is_not_delivered_gives_its_room_back(tmp_path, box):
    service = make_service(tmp_path, quota=quota_rules("1M"))

    _, replies = deliver(service, [A], BODY, client=Client(Verdict.GONE))

    assert codes(replies) == [451]
    came, went = lines_of(box)[2:]
    assert went == "-" + came.replace(" ", " -")


def test_a_retry_of_what_is_there_takes_no_room(tmp_path, box):
    service = make_service(tmp_path, quota=quota_rules("1M"))
    first, _ = deliver(service, [A], BODY)
    first.release()

    _, replies = deliver(service, [A], BODY)

    assert codes(replies) == [250]
    assert len(files(tmp_path, BOX_A)) == 1
    assert sum(int(line.split()[1]) for line in lines_of(box)[1:]) == 1


def test_what_is_held_keeps_its_room_until_it_is_published_or_dropped(tmp_path, box, monkeypatch):
    monkeypatch.setattr("storage.quota.WAIT_S", 0.05)
    service = make_service(tmp_path, quota=quota_rules("2000"), commit=Commit.HOLD)
    first, replies = deliver(service, [A], b"x" * 1000)
    _, too_much = deliver(service, [A], b"y" * 1000)
    assert (codes(replies), codes(too_much)) == ([250], [452])

    first.drop()
    second, replies = deliver(service, [A], b"z" * 1000)
    second.conclude()

    assert codes(replies) == [250]
    (stored,) = files(tmp_path, BOX_A)
    assert service.quotas is not None
    assert lines_of(box)[-1] == f"{stored.stat().st_size} 1"


def test_copies_that_share_a_file_are_counted_for_each(tmp_path, box):
    other = make_maildir(tmp_path / "mail/example.org/b")
    service = make_service(tmp_path, quota=quota_rules("1M"))
    service.single_instance = SingleInstance.LINK

    _, replies = deliver(service, [A, B], BODY)

    (stored,) = files(tmp_path, BOX_A)
    assert codes(replies) == [250, 250]
    assert stored.stat().st_nlink == 2
    assert lines_of(box)[-1] == lines_of(other)[-1] == f"{stored.stat().st_size} 1"


def test_a_retry_is_recognised_in_a_mailbox_that_is_full_by_now_and_new_mail_is_refused(tmp_path, box):
    service = make_service(tmp_path, quota=quota_rules("1000", patience_s=0.0))
    assert service.quotas is not None
    service.quotas.expects = service.ledger.may_come_again
    first, replies = deliver(service, [A], BODY)
    assert codes(replies) == [250]
    put(box, 2000)
    (box / "maildirsize").unlink()
    first.release()  # the reply was lost

    _, other = deliver(service, [A], b"other\r\n")
    retried, again = deliver(service, [A], BODY)
    retried.confirm()

    assert (codes(again), codes(other)) == ([250], [552])
    assert len(files(tmp_path, BOX_A)) == 1
    assert leftovers(tmp_path) == []
    assert ask(service, A, None).code == 552
    assert service.ledger.intend([]) == []


def test_no_lock_outlives_its_transaction(tmp_path, box):
    service = make_service(tmp_path, quota=quota_rules("1M"))
    deliver(service, [A], BODY)
    deliver(service, [A], BODY[:-2] + b"x\r\n", client=Client(Verdict.GONE))
    fd = Disk().open_to_append(str(box / "maildirsize"))

    assert Disk().try_lock_alone(fd)
