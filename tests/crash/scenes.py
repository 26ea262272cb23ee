"""What is going on when the crash comes. `prepare` is over before the window opens, `act` runs inside it.

A scene never fails because the server dies: the client notes what it was answered, and the oracle judges.
"""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.crash.account import Account, Sent
from tests.crash.client import Behind, Client
from tests.crash.crowd import Member, deliver_together
from tests.crash.oracle import Kind, Mailboxes
from tests.support.polling import wait_for

TEN_MEGABYTES = 10 << 20


@dataclass(slots=True)
class Stage:
    """One play's client, account and mailboxes."""

    client: Client
    account: Account
    mailboxes: Mailboxes
    state: Path = Path()
    """Where the ledger is; of lmtpd only."""
    planted: dict[Path, bytes] = field(default_factory=dict)

    def deliver(self, *recipients: str, behind: Behind = Behind.NOTHING, octets: int = 4096) -> Sent:
        """Compose and send, for whatever comes of it."""
        sent = self.account.compose(*recipients, octets=octets)
        self.client.send(sent, behind)
        return sent

    def plant(self, recipient: str) -> None:
        """Put somebody else's file into tmp/, which must never be touched."""
        path = self.mailboxes.of(recipient) / "tmp" / "1700000000.M1P2.elsewhere"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"another program is at work here\n")
        make_durable(path)
        self.planted[path] = path.read_bytes()

    def members(self, count: int) -> list[Member]:
        """Return more clients like ours."""
        return [Member(self.client.address, timeout_s=self.client.timeout_s) for _ in range(count)]


@dataclass(frozen=True, slots=True)
class Scene:
    """A name and two deeds; `reader`: between crash and retry an IMAP server moves new/ to cur/."""

    name: str
    prepare: Callable[[Stage], None]
    act: Callable[[Stage], None]
    reader: bool = False
    flags: tuple[str, ...] = ()
    """For the server's command line."""
    allowed: frozenset[Kind] = frozenset()
    """What may go wrong, since the documentation says so."""

    def __str__(self) -> str:
        return self.name.replace(" ", "-")


def _nothing(stage: Stage) -> None:
    """A server that has just started."""


def _warm(stage: Stage) -> None:
    """Mailboxes and ledger are in use, and nothing is left to confirm."""
    for user in ("a", "b", "c"):
        stage.deliver(f"{user}@example.org")
    stage.client.quit()
    stage.client.connect()


def _warm_and_watched(stage: Stage) -> None:
    _warm(stage)
    stage.plant("a@example.org")


def _one(stage: Stage) -> None:
    stage.deliver("a@example.org", behind=Behind.QUIT)


def _one_of(octets: int) -> Callable[[Stage], None]:
    return lambda stage: _deliver_and_quit(stage, octets)


def _deliver_and_quit(stage: Stage, octets: int) -> None:
    stage.deliver("a@example.org", behind=Behind.QUIT, octets=octets)


def _first_contact(stage: Stage) -> None:
    stage.deliver("fresh@first.example.net", behind=Behind.QUIT)


def _break_one(stage: Stage) -> None:
    _warm(stage)
    broken = stage.mailboxes.of("broken@example.org")
    broken.write_text("a file where a Maildir should be")
    make_durable(broken)


def _three_one_fails(stage: Stage) -> None:
    recipients = ("a@example.org", "broken@example.org", "c@example.org")
    sent = stage.account.compose(*recipients, octets=4096, doomed=[recipients[1]])
    stage.client.send(sent, Behind.QUIT)


def _twice_the_same(stage: Stage) -> None:
    stage.deliver("a@example.org", "a@example.org", behind=Behind.QUIT)


def _share(stage: Stage) -> None:
    """Two recipients whose copies are one file, between them one who has no part in it."""
    recipients = [f"{user}@example.org" for user in ("a", "broken", "b")]
    sent = stage.account.compose(*recipients, octets=4096, doomed=[recipients[1]])
    stage.client.send(sent, Behind.QUIT)


def _cached(stage: Stage) -> None:
    stage.deliver("a@example.org")
    stage.deliver("a@example.org", "b@example.org", behind=Behind.QUIT)


def _chunks(stage: Stage) -> None:
    sent = stage.account.compose("a@example.org", octets=9000)
    stage.client.send(sent, Behind.QUIT, chunk_octets=4096)


def _lost_reply(stage: Stage) -> None:
    sent = stage.deliver("a@example.org", behind=Behind.QUIT_LOSES_REPLIES)
    stage.client.send(sent, Behind.QUIT)


def _two_connections(stage: Stage) -> None:
    """Deliver two messages to one mailbox at the same time."""
    members = stage.members(2)
    for member in members:
        member.begin(stage.account.compose("a@example.org", octets=4096), Behind.QUIT)
    for member in members:
        member.join()


def _round(stage: Stage) -> None:
    """Deliver one message, and three more in the round behind it, if there are rounds here."""
    recipients = (["a"], ["b"], ["a", "c"], ["b"])
    messages = [
        stage.account.compose(*(f"{user}@example.org" for user in users), octets=4096) for users in recipients
    ]
    deliver_together(stage.members(len(messages)), messages, lock=stage.state / "ledger.db.lock")


def _moved_meanwhile(stage: Stage) -> None:
    """Lose a reply, send again and deliver more, each time once what came before is moved."""
    with _imap_server(stage.mailboxes.of("a@example.org")) as wait_until_moved:
        sent = stage.deliver("a@example.org", behind=Behind.QUIT_LOSES_REPLIES)
        wait_until_moved()
        stage.client.send(sent)
        stage.deliver("a@example.org", "b@example.org", behind=Behind.NOTHING)
        wait_until_moved()
        stage.deliver("a@example.org")


@contextmanager
def _imap_server(maildir: Path) -> Iterator[Callable[[], None]]:
    """Move mail as soon as it is there, until the end; gives what waits until nothing is left to move."""
    ended = threading.Event()

    def move() -> None:
        while not ended.wait(0.0005):
            read_mail(maildir)

    def wait_until_moved() -> None:
        wait_for(lambda: not any((maildir / "new").iterdir()), "the mail is moved", every_s=0.001)

    mover = threading.Thread(target=move)
    mover.start()
    try:
        yield wait_until_moved
    finally:
        ended.set()
        mover.join()


def read_mail(folder: Path) -> None:
    """Do as an IMAP server does: move what is new to cur/, marked as seen."""
    for path in list(folder.rglob("new/*")):
        path.rename(path.parent.parent / "cur" / f"{path.name}:2,S")


ONE = Scene("one message", _warm_and_watched, _one)
FIRST_CONTACT = Scene("first contact with a new Maildir", _nothing, _first_contact)
THREE = Scene("three recipients of which one fails", _break_one, _three_one_fails)
SHARED = Scene(
    "two recipients and one file",
    _break_one,
    _share,
    flags=("--set", "delivery.single_instance=link"),
)
CACHED = Scene("two messages over one connection", _warm, _cached)
TWICE = Scene("the same recipient twice", _warm, _twice_the_same)
EMPTY = Scene("an empty message", _warm, _one_of(0))
LARGE = Scene("ten megabytes", _warm, _one_of(TEN_MEGABYTES))
BDAT = Scene("BDAT in chunks", _warm, _chunks)
LOST_REPLY = Scene("a lost reply and the retry", _warm, _lost_reply)
READ_MEANWHILE = Scene("a reader moves the mail before the retry", _warm, _one, reader=True)
MOVED_MEANWHILE = Scene("an IMAP server moves mail meanwhile", _warm, _moved_meanwhile)
TWO_CONNECTIONS = Scene("two connections to one mailbox", _warm, _two_connections)
ROUND = Scene("a round of several transactions", _warm, _round)
# It answers before it publishes, so a crash may lose what was answered 250, and leave a record of it:
# the policy is documented so.
HOLD = Scene(
    "hold",
    _nothing,
    _one,
    flags=("--set", "delivery.commit=hold"),
    allowed=frozenset({Kind.LOST, Kind.LEDGER}),
)


def make_durable(path: Path) -> None:
    """Sync what the test itself has made: a power cut is the server's trial, not ours."""
    for place in (path, *list(path.parents)[:3]):
        fd = os.open(place, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
