"""Clients that leave at one moment of a delivery, at which the real server is held by tests/crash/shim.c.

The table says what comes of it. It is the one of docs/behind-the-dot.md and of README, word by word.
"""

import os
import signal
import ssl
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import Enum
from itertools import product
from pathlib import Path

from tests.crash.account import Account, Attempt
from tests.crash.oracle import Mailboxes
from tests.crash.shim import Action, Kind, Shim
from tests.support import maildirs
from tests.support.lmtp_client import LmtpClient, stuffed
from tests.support.polling import wait_for
from tests.support.server import Server

POLICIES = ("immediate", "checked", "cancel", "hold")


class Phase(Enum):
    """When the client leaves."""

    IN_BODY = "before the final dot"
    STAGED = "between dot and barrier: the copy is about to be synced"
    PUBLISHING = "behind the barrier: the copy is about to be renamed"
    ANSWERING = "the reply is about to be sent"


class Leave(Enum):
    """How it leaves."""

    CLOSE = "close"
    RESET = "reset"
    HALF_CLOSE = "half-close"


class Fate(Enum):
    """What is in the mailbox before the client sends the message again."""

    STORED = 1
    NOTHING = 0
    EITHER = 2
    """The loss shows in time, or it does not."""
    AS_WITHOUT_QUIT = 3


STORED, NOTHING = Fate.STORED, Fate.NOTHING

IN_BODY = "connection lost before the final dot"
BEFORE = "connection lost before the barrier"
BEHIND = "connection lost between barrier and reply"
QUIT_AND_LOST = "QUIT together with the dot, and the connection is lost before the reply"
QUIT_LATER = "reply sent, then QUIT or MAIL"
QUIT = "QUIT together with the dot (what Postfix does)"
HALF = "half-closed client (`shutdown(SHUT_WR)`)"

_LOOKS_GONE = (
    "TCP: taken for a lost connection, since nothing can tell the two apart, 451 4.4.2 is still written; "
    "unix socket: stored"
)

Entry = tuple[str, Fate] | tuple[str, Fate, Fate]
# Row -> for each policy what the documentation says, and what it means: on a unix socket, and on TCP if that
# is another.
TABLE: dict[str, tuple[Entry, Entry, Entry, Entry]] = {
    IN_BODY: (
        ("nothing stored", NOTHING),
        ("the same", NOTHING),
        ("the same", NOTHING),
        ("the same", NOTHING),
    ),
    BEFORE: (
        ("stored; the retry is recognised", STORED),
        ("**nothing stored**, 451 4.4.2 written for whoever can still read", NOTHING),
        ("nothing stored", NOTHING),
        ("nothing stored", NOTHING),
    ),
    BEHIND: (
        ("stored; the retry is recognised and answered 250", STORED),
        ("the same", STORED),
        ("the same", STORED),
        ("nothing stored", NOTHING),
    ),
    QUIT_AND_LOST: (
        ("as without QUIT", Fate.AS_WITHOUT_QUIT),
        ("the same", Fate.AS_WITHOUT_QUIT),
        ("the same", Fate.AS_WITHOUT_QUIT),
        ("published unless the loss shows before the reply has left; the retry is recognised", Fate.EITHER),
    ),
    QUIT_LATER: (
        ("stored", STORED),
        ("stored", STORED),
        ("stored", STORED),
        ("published now", STORED),
    ),
    QUIT: (
        ("replies, 221, stored", STORED),
        ("the same", STORED),
        ("the same", STORED),
        ("replies, published, 221", STORED),
    ),
    HALF: (
        ("stored", STORED),
        (
            _LOOKS_GONE,
            STORED,
            NOTHING,
        ),
        ("as checked", STORED, NOTHING),
        ("discarded; published if QUIT came with the dot", NOTHING),
    ),
}


@dataclass(frozen=True, slots=True)
class Cell:
    """One way of leaving."""

    policy: str
    transport: str
    leave: Leave
    says_quit: bool
    phase: Phase

    def __str__(self) -> str:
        quits = "-quit" if self.says_quit else ""
        return f"{self.policy}-{self.transport}-{self.leave.value}{quits}-{self.phase.name.lower()}"

    @property
    def row(self) -> str:
        """The row of the table that tells of it."""
        if self.phase is Phase.IN_BODY:
            return IN_BODY
        if self.policy == "hold" and self.phase is Phase.PUBLISHING:
            return QUIT_LATER  # that is when it publishes
        if self.leave is not Leave.HALF_CLOSE and self.says_quit:
            return QUIT_AND_LOST
        if self.leave is Leave.HALF_CLOSE and self.policy == "hold":
            return QUIT if self.says_quit else HALF
        if self.phase is not Phase.STAGED:
            return BEHIND
        return HALF if self.leave is Leave.HALF_CLOSE else BEFORE

    @property
    def fate(self) -> Fate:
        """What the table says."""
        _, unix, *tcp = TABLE[self.row][POLICIES.index(self.policy)]
        fate = tcp[0] if tcp and self.transport != "unix" else unix
        return replace(self, says_quit=False).fate if fate is Fate.AS_WITHOUT_QUIT else fate

    @property
    def replies(self) -> list[int]:
        """What a client that half-closed reads."""
        if self.phase is Phase.IN_BODY:
            return []
        is_refused = self.policy != "hold" and self.fate is NOTHING
        return [451 if is_refused else 250, *([221] if self.says_quit else [])]


def cells() -> Iterator[Cell]:
    """Every cell; without QUIT, `hold` publishes nothing."""
    for policy, transport, leave, quits, phase in product(
        POLICIES, ("unix", "tcp", "tls"), Leave, (False, True), Phase
    ):
        if policy != "hold" or phase is not Phase.PUBLISHING or quits:
            yield Cell(policy, transport, leave, quits, phase)


# ---- playing them -----------------------------------------------------------------------------------

_AT = {Phase.STAGED: Kind.FSYNC, Phase.PUBLISHING: Kind.RENAME, Phase.ANSWERING: Kind.SEND}


class OneDomain(Mailboxes):
    """The mailboxes of one cell, ROOT/USER: nobody else's are looked at."""

    def of(self, recipient: str) -> Path:
        """Return the Maildir of user@domain."""
        return self.root / recipient.rpartition("@")[0]


class Scene:
    """One server, held by the shim; cells are played on it one by one, each in a domain of its own."""

    def __init__(self, server: Server, shim: Shim, trust: ssl.SSLContext) -> None:
        self.server = server
        self.shim = shim
        self.accounts: list[Account] = []
        self._trust = trust

    def play(self, cell: Cell) -> "Played":
        """Say everything that the cell has the client say, and leave; return when the server has settled."""
        account = Account(len(self.accounts))
        self.accounts.append(account)
        sent = account.compose(f"u@d{len(self.accounts)}.example.org")
        (recipient,) = sent.recipients
        attempt = Attempt((0,), completed=cell.phase is not Phase.IN_BODY, abandoned=True)
        sent.attempts.append(attempt)
        last_words = b"QUIT\r\n" if cell.says_quit else b""
        with self._connected(cell.transport) as client:
            client.envelope(sent.sender, [recipient])
            assert client.command("DATA").code == 354
            if cell.phase is Phase.IN_BODY:
                client.send(stuffed(sent.message) + last_words)
                _leave(client, cell.leave)
            else:
                is_send = cell.phase is Phase.ANSWERING
                self.shim.arm(
                    Action.STOP,
                    1,
                    kinds=[_AT[cell.phase]],
                    only="" if is_send else f"/{recipient.rpartition('@')[2]}/u/tmp/",
                )
                client.send(stuffed(sent.message) + b".\r\n" + last_words)
                self._while_stopped(client, cell.leave)
            replies = _read(client) if cell.leave is Leave.HALF_CLOSE else []
        # Before QUIT is answered nothing is promised where messages are held.
        if replies and (cell.policy != "hold" or replies[-1] == 221):
            attempt.replies[0] = replies[0]
        maildir = self.server.maildir(recipient)
        wait_for(
            lambda: f"<{recipient}>" in self.server.log and not maildirs.leftovers(maildir),
            "the report of the recipient, and an empty tmp/",
        )
        return Played(account, OneDomain(root=maildir.parent), replies)

    def _connected(self, transport: str) -> LmtpClient:
        client = self.server.client(0 if transport == "unix" else 1)
        if transport == "tls":
            client.starttls(self._trust)
            client.lhlo()
        return client

    def _while_stopped(self, client: LmtpClient, leave: Leave) -> None:
        call = wait_for(lambda: self.shim.fired, "the call at which the server is to stop", every_s=0.001)
        try:
            wait_for(lambda: _is_stopped(call.pid), "the stop of the server", every_s=0.001)
            _leave(client, leave)
        finally:
            self.shim.disarm()
            os.kill(call.pid, signal.SIGCONT)


@dataclass(frozen=True, slots=True)
class Played:
    """What came of a cell so far."""

    account: Account
    mailboxes: Mailboxes
    replies: list[int]

    @property
    def stored(self) -> int:
        """How many messages are in the mailbox."""
        return len(maildirs.messages(self.mailboxes.root / "u"))


def _leave(client: LmtpClient, leave: Leave) -> None:
    match leave:
        case Leave.CLOSE:
            client.close()
        case Leave.RESET:
            client.reset()
        case Leave.HALF_CLOSE:
            client.half_close()


def _read(client: LmtpClient) -> list[int]:
    """Read replies up to the end of the stream."""
    return [int(line[:3]) for line in client.rest().splitlines()]


def _is_stopped(pid: int) -> bool:
    """Tell whether all threads stand still."""
    stats = [path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/stat")]
    return all(stat.rpartition(")")[2].split()[0] == "T" for stat in stats)
