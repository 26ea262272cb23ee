"""A recipient source over a lookup: what is remembered, and what an uncertain answer becomes."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lmtpd.protocol.addresses import Address
from lmtpd.recipients.answers import Answers
from lmtpd.recipients.asked import PAUSE_S, AskedSource
from lmtpd.recipients.entry import Entry, EntryError
from lmtpd.recipients.lookup import LookupFailed, Question, SourceDown
from lmtpd.recipients.mailbox import Found, Mailbox, MailboxOwner, Unavailable, Unknown
from lmtpd.recipients.patience import Patience
from lmtpd.recipients.placement import Placement
from lmtpd.recipients.rules import Detail
from storage.disk import Disk
from storage.quota_limit import QuotaLimit
from tests.support.recipients import rules

ALICE, BOB = Address("alice", "example.org"), Address("bob", "example.org")


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Book:
    """A lookup over a dictionary; an exception in it is raised."""

    name = "book"

    def __init__(self, *, asks_for_detail: bool = False, **entries: Entry | Exception) -> None:
        self.entries = entries
        self.asked: list[Question] = []
        self.asks_for_detail = asks_for_detail
        self.down: Exception | None = None

    def find(self, question: Question) -> Entry | None:
        self.asked.append(question)
        answer = self.down or self.entries.get(question.user)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def users(self) -> Iterator[str]:
        yield from ()

    def close(self) -> None:
        self.entries.clear()


def source(
    book: Book, tmp_path: Path, *, answers: Answers | None = None, clock: Callable[[], float] | None = None,
    patience: Patience | None = None, domains: frozenset[str] = frozenset(), create: bool = True,
) -> AskedSource:  # fmt: skip
    placement = Placement(Disk(), rules(tmp_path), {}, create=create)
    return AskedSource(
        book, placement, answers=answers, patience=patience, domains=domains, clock=clock or Clock()
    )


def remembered(clock: Clock) -> Answers:
    return Answers(entries=10, known_s=60, unknown_s=10, clock=clock)


def mailbox(found: Found) -> Mailbox:
    assert isinstance(found, Mailbox)
    return found


def test_what_the_lookup_says_reaches_the_mailbox(tmp_path: Path):
    book = Book(alice=Entry("/home/alice", None, MailboxOwner(8, 8), QuotaLimit(5), Detail.CREATE, "s.sieve"))

    found = mailbox(source(book, tmp_path).find(Address("Alice+New.Deep", "example.org")))

    assert found.maildir.path == "/home/alice/Maildir"
    assert (found.user, found.address) == ("alice", "alice+New.Deep@example.org")
    assert (found.owner, found.quota, found.script) == (MailboxOwner(8, 8), QuotaLimit(5), "s.sieve")
    assert (found.folder, found.create, found.create_folder) == ("New/Deep", True, True)
    assert book.asked == [Question("alice", "New.Deep", "example.org")]


def test_somebody_who_is_not_there_is_unknown(tmp_path: Path):
    found = source(Book(), tmp_path).find(BOB)

    assert found == Unknown("book does not know bob@example.org")


@pytest.mark.parametrize("failure", [LookupFailed("two rows"), SourceDown("refused"), EntryError("bad uid")])
def test_no_failure_is_a_bounce(tmp_path: Path, failure: Exception):
    found = source(Book(alice=failure), tmp_path).find(ALICE)

    assert found == Unavailable(f"book: alice@example.org: {failure}")


def test_answers_are_remembered_as_long_as_they_may(tmp_path: Path):
    clock, book = Clock(), Book(alice=Entry("/home/alice"))
    asked = source(book, tmp_path, answers=remembered(clock), clock=clock)

    for address in (ALICE, ALICE, BOB, BOB, Address("ALICE+x", "example.org")):
        asked.find(address)
    assert [question.user for question in book.asked] == ["alice", "bob"]

    clock.now += 10
    asked.find(ALICE)
    asked.find(BOB)
    assert [question.user for question in book.asked] == ["alice", "bob", "bob"]


def test_a_lookup_that_sees_details_is_asked_for_each(tmp_path: Path):
    clock, book = Clock(), Book(asks_for_detail=True, alice=Entry("/home/alice"))
    asked = source(book, tmp_path, answers=remembered(clock), clock=clock)

    for local in ("alice+a", "alice+b", "alice+a"):
        asked.find(Address(local, "example.org"))

    assert [question.detail for question in book.asked] == ["a", "b"]


def test_failures_are_not_remembered_but_spared_for_a_moment(tmp_path: Path):
    clock, book = Clock(), Book(alice=Entry("/home/alice"))
    asked = source(book, tmp_path, answers=remembered(clock), clock=clock)
    book.down = SourceDown("refused")

    assert isinstance(asked.find(ALICE), Unavailable)
    assert asked.find(BOB) == Unavailable("book: bob@example.org: refused")
    assert len(book.asked) == 1

    book.down = None
    clock.now += PAUSE_S
    assert isinstance(asked.find(ALICE), Mailbox)


def test_what_is_remembered_outlives_a_failure(tmp_path: Path):
    clock, book = Clock(), Book(alice=Entry("/home/alice"))
    asked = source(book, tmp_path, answers=remembered(clock), clock=clock)
    asked.find(ALICE)
    book.down = SourceDown("refused")

    assert isinstance(asked.find(BOB), Unavailable)
    assert isinstance(asked.find(ALICE), Mailbox)


def test_a_failure_for_one_user_is_not_one_for_others(tmp_path: Path):
    book = Book(alice=LookupFailed("two rows"), bob=Entry("/home/bob"))
    asked = source(book, tmp_path)

    assert isinstance(asked.find(ALICE), Unavailable)
    assert isinstance(asked.find(BOB), Mailbox)


def test_a_lookup_that_hangs_is_not_waited_for(tmp_path: Path):
    end = threading.Event()

    class Hanging(Book):
        def find(self, question: Question) -> Entry | None:
            end.wait()
            return None

    asked = source(Hanging(), tmp_path, patience=Patience(at_once=1, wait_s=0.05))

    assert asked.find(ALICE) == Unavailable("book: alice@example.org: no answer within 0.05 s")
    end.set()


def test_only_its_own_domains_are_asked_for(tmp_path: Path):
    book = Book(alice=Entry("/home/alice"))
    asked = source(book, tmp_path, domains=frozenset({"example.org"}))

    assert isinstance(asked.find(ALICE), Mailbox)
    assert isinstance(asked.find(Address("alice", "example.net")), Unknown)
    assert isinstance(asked.find(Address("alice", "")), Unknown)
    assert len(book.asked) == 1


@pytest.mark.parametrize("local", ["a\nb", "a\0b", "a\x7f"])
def test_names_with_control_characters_are_nobodys_and_not_asked_for(tmp_path: Path, local: str):
    book = Book()

    assert isinstance(source(book, tmp_path).find(Address(local, "example.org")), Unknown)
    assert not book.asked


def test_a_known_user_without_a_maildir_is_no_unknown_user(tmp_path: Path):
    book = Book(alice=Entry(str(tmp_path)))

    assert isinstance(source(book, tmp_path, create=False).find(ALICE), Unavailable)
    (tmp_path / "Maildir").mkdir()
    assert isinstance(source(book, tmp_path, create=False).find(ALICE), Mailbox)


def test_a_maildir_that_will_be_made_may_have_a_detail(tmp_path: Path):
    book = Book(alice=Entry(maildir=f"{tmp_path}/alice", detail=Detail.CREATE))

    assert mailbox(source(book, tmp_path).find(Address("alice+x", "example.org"))).folder == "x"


def test_explain_tells_the_answer_and_the_place(tmp_path: Path):
    book = Book(alice=Entry("/home/alice", owner=MailboxOwner(8, 9)), eve=SourceDown("refused"))
    asked = source(book, tmp_path, domains=frozenset({"example.org"}))

    def steps(local: str, domain: str = "example.org") -> dict[str, str]:
        return {step.question: step.answer for step in asked.explain(Address(local, domain))}

    assert steps("alice+x") == {
        "user": "alice@example.org, detail x",
        "answer: home": "/home/alice",
        "answer: owner": "uid 8, gid 9",
        "Maildir": "/home/alice/Maildir",
        "on disk": "missing, will be made",
        "detail (existing)": "x: to the inbox, since there is no such folder",
    }
    assert steps("bob") == {"user": "bob@example.org", "answer": "no such user"}
    assert steps("alice", "x.org") == {"domain": "x.org: not one of this source's"}
    assert steps("eve")["answer"] == "failed: refused"
