"""The oracle: what the client was told, held against what lies in the Maildirs and in the ledger.

It knows nothing of how a server works. The invariants, by their numbers:

I1  A recipient answered 250 has exactly one copy, exact to the octet, in the right Maildir.
I2  No file in new/ or cur/ is partial or empty, or has the wrong owner or mode.
I3  A recipient not answered 250 has none or one complete copy; one that was refused has none.
I4  Exactly one reply for each accepted recipient; one recipient's failure is not another's.
I5  Once the client has sent again what it had to: exactly one copy.
I7  Nothing of the server's own is left in tmp/ then, and nothing of anybody else's is touched.
I8  A copy whose reply is in doubt has its record in the ledger; no record contradicts the Maildirs.
I9  SQLite's integrity_check passes.

(I6, two transactions with equal octets are both kept, is I1 of the second.)
"""

import hashlib
import os
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from tests.crash.account import MARKER, Account, Sent

_FOLDED = rb"[^\n]*\n(?:[ \t][^\n]*\n)*"
# What lmtpd and Dovecot put on top of a message.
_TOP = b"Return-Path: <"
LMTP_HEADER = re.compile(
    rb"Return-Path: [^\n]*\n(?:Delivered-To: (?P<to>[^\n]*)\n)?(?:X-Original-To: [^\n]*\n)?Received: "
    + _FOLDED
)


class Kind(Enum):
    """What can be wrong; the values are the words of the comparison's table."""

    LOST = "lost"
    DOUBLED = "doubled"
    PARTIAL = "partial"
    STRAY = "stray"
    MISPLACED = "in the wrong mailbox"
    REFUSED = "stored though refused"
    REPLIES = "wrong replies"
    UNDELIVERED = "not delivered in the end"
    ATTRIBUTES = "wrong owner or mode"
    LEFTOVER = "left in tmp/"
    DELETED = "foreign file touched"
    LEDGER = "ledger"


@dataclass(frozen=True, slots=True)
class Violation:
    """One broken promise."""

    kind: Kind
    invariant: str
    text: str

    def __str__(self) -> str:
        return f"{self.invariant} {self.kind.value}: {self.text}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mailboxes:
    """Where the mail lies, and what the server makes of it."""

    root: Path
    header: re.Pattern[bytes] = LMTP_HEADER
    """What is put on top of each message; group "to" is the recipient."""
    owner: int = os.geteuid()
    mode: int = 0o600

    def of(self, recipient: str) -> Path:
        """Return the Maildir of user@domain: ROOT/DOMAIN/USER."""
        user, _, domain = recipient.lower().rpartition("@")
        return self.root / domain / user


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file in new/ or cur/."""

    path: Path
    maildir: Path
    recipient: str | None
    """By the header on top; None when that is not there."""
    sha256: str
    """Of what follows that header."""

    @property
    def data(self) -> bytes:
        """All of it, read again: a long run could not keep what it has read."""
        return self.path.read_bytes()

    @property
    def base(self) -> str:
        """The name without flags."""
        return self.path.name.partition(":2,")[0]


LedgerCheck = Callable[[Account, Mailboxes, Sequence[StoredFile], bool], list[Violation]]


def check(
    account: Account,
    mailboxes: Mailboxes,
    *,
    settled: bool,
    ledger: LedgerCheck | None = None,
    planted: Mapping[Path, bytes] | None = None,
    may_stay: bool = False,
) -> list[Violation]:
    """Return everything that is wrong; empty is what a test wants.

    `settled`: the client has sent again what it had to, and the server was stopped in order; before that,
    right after a crash, copies in doubt and leftovers are fine. `ledger`: what `books.check_ledger` returns.
    `planted`: foreign files in tmp/ and elsewhere with their content. `may_stay`: a message may be there
    although it was answered 451, since syncing its directory failed.
    """
    files = list(_files(mailboxes))
    by_place: dict[tuple[Path, str], list[StoredFile]] = defaultdict(list)
    for file in files:
        by_place[file.maildir, file.sha256].append(file)
    violations = [
        *_replies(account, settled=settled),
        *_attributes(files, mailboxes),
        *_copies(account, mailboxes, by_place, may_stay=may_stay),
        *_strangers(account, mailboxes, by_place),
        *_foreign(planted or {}),
    ]
    if settled:
        violations += _leftovers(mailboxes, planted or {})
    if ledger is not None:
        violations += ledger(account, mailboxes, files, settled)
    return violations


# ---- replies ----------------------------------------------------------------------------------------


def _replies(account: Account, *, settled: bool) -> Iterator[Violation]:
    for sent in account.sent:
        for number, attempt in enumerate(sent.attempts, 1):
            for complaint in attempt.complaints:
                yield Violation(Kind.REPLIES, "I4", f"{sent.id}, attempt {number}: {complaint}")
        for place, recipient in enumerate(sent.recipients):
            codes = [code for code in sent.replies_to(place) if code is not None]
            if recipient in sent.doomed:
                if any(code // 100 == 2 for code in codes):
                    text = f"{sent.id} for {recipient}, who cannot have it, was answered {codes}"
                    yield Violation(Kind.REPLIES, "I4", text)
            elif any(code // 100 == 5 for code in codes):
                text = f"{sent.id} for {recipient} was refused for good: {codes}"
                yield Violation(Kind.REPLIES, "I4", text)
            elif settled and sent.is_open(place):
                text = f"{sent.id} for {recipient}: {sent.replies_to(place)}"
                yield Violation(Kind.UNDELIVERED, "I5", text)


# ---- copies -----------------------------------------------------------------------------------------


def _copies(
    account: Account,
    mailboxes: Mailboxes,
    by_place: Mapping[tuple[Path, str], Sequence[StoredFile]],
    *,
    may_stay: bool,
) -> Iterator[Violation]:
    """Count the copies of each message in each mailbox. Messages with equal octets are counted together."""
    expected: dict[tuple[Path, str], list[tuple[str, int, int]]] = defaultdict(list)
    for sent in account.sent:
        for recipient in dict.fromkeys(name.lower() for name in sent.recipients):
            least, most = _bounds(sent, recipient, may_stay=may_stay)
            expected[mailboxes.of(recipient), sent.sha256].append((f"{sent.id} for {recipient}", least, most))
    for place, wanted in expected.items():
        count = len(by_place.get(place, ()))
        least, most = sum(item[1] for item in wanted), sum(item[2] for item in wanted)
        names = ", ".join(item[0] for item in wanted)
        if count < least:
            text = f"{names}: answered 250, {count} of {least} copies are there"
            yield Violation(Kind.LOST, "I1", text)
        elif count > most and not most:
            text = f"{names}: {count} copies, and it was refused or never sent whole"
            yield Violation(Kind.REFUSED, "I3", text)
        elif count > most:
            text = f"{names}: {count} copies instead of {most}"
            yield Violation(Kind.DOUBLED, "I5" if least else "I3", text)


def _bounds(sent: Sent, recipient: str, *, may_stay: bool) -> tuple[int, int]:
    """Return how many copies a recipient has at least and at most, going by what the client knows."""
    places = [place for place, name in enumerate(sent.recipients) if name.lower() == recipient]
    most = 0
    for attempt in sent.attempts:
        for place in set(places) & set(attempt.places):
            code = attempt.replies.get(place)
            if code is not None and code // 100 == 2:
                return 1, 1
            if attempt.completed and (code is None or may_stay):
                most = 1
    return 0, most


def _strangers(
    account: Account, mailboxes: Mailboxes, by_place: Mapping[tuple[Path, str], Sequence[StoredFile]]
) -> Iterator[Violation]:
    """Find files that are nobody's complete message, or not this mailbox's."""
    known: dict[str, set[Path]] = defaultdict(set)
    for sent in account.sent:
        known[sent.sha256] |= {mailboxes.of(recipient) for recipient in sent.recipients}
    by_id = {sent.id: sent for sent in account.sent}
    for (maildir, digest), files in by_place.items():
        for file in files:
            if digest in known and file.recipient is not None:
                named = mailboxes.of(file.recipient) if file.recipient else maildir
                if maildir not in known[digest] or named != maildir:
                    text = f"{file.path} is for {file.recipient or sorted(known[digest])}"
                    yield Violation(Kind.MISPLACED, "I1", text)
            else:
                yield _damaged(file, by_id)


def _damaged(file: StoredFile, by_id: Mapping[str, Sent]) -> Violation:
    data = file.data
    marker = re.search(rb"^%s(m\d+)$" % MARKER, data, re.MULTILINE)
    if marker and (sent := by_id.get(marker[1].decode())):
        text = f"{file.path}: {len(data)} octets, {sent.id} has {sent.disk_octets} and a header on top"
        return Violation(Kind.PARTIAL, "I2", text)
    if not data.strip(b"\0"):
        return Violation(Kind.PARTIAL, "I2", f"{file.path}: {len(data)} octets, none or all of them NUL")
    if data.startswith(_TOP) or _TOP.startswith(data):
        text = f"{file.path}: ends within the header, at {len(data)} octets"
        return Violation(Kind.PARTIAL, "I2", text)
    return Violation(Kind.STRAY, "I2", f"{file.path} is no message of this client: {data[:60]!r}")


# ---- files ------------------------------------------------------------------------------------------


def maildirs_below(root: Path) -> Iterator[Path]:
    """Find every directory that has a new/ or cur/."""
    for path, folders, _ in os.walk(root):
        if {"new", "cur", "tmp"} & set(folders):
            yield Path(path)
            folders[:] = [name for name in folders if name not in {"new", "cur", "tmp"}]


def _files(mailboxes: Mailboxes) -> Iterator[StoredFile]:
    for maildir in maildirs_below(mailboxes.root):
        for part in ("new", "cur"):
            folder = maildir / part
            for path in sorted(folder.iterdir()) if folder.is_dir() else ():
                data = path.read_bytes()
                top = mailboxes.header.match(data)
                recipient = (top["to"] or b"").decode(errors="replace") if top else None
                digest = hashlib.sha256(data[top.end() :] if top else data).hexdigest()
                yield StoredFile(path, maildir, recipient, digest)


def _attributes(files: Sequence[StoredFile], mailboxes: Mailboxes) -> Iterator[Violation]:
    for file in files:
        status = file.path.lstat()
        if (status.st_uid, status.st_mode & 0o7777) != (mailboxes.owner, mailboxes.mode):
            text = f"{file.path}: owner {status.st_uid}, mode {status.st_mode & 0o7777:o}"
            yield Violation(Kind.ATTRIBUTES, "I2", text)


def _leftovers(mailboxes: Mailboxes, planted: Mapping[Path, bytes]) -> Iterator[Violation]:
    for maildir in maildirs_below(mailboxes.root):
        for path in (maildir / "tmp").glob("*"):
            if path not in planted:
                yield Violation(Kind.LEFTOVER, "I7", str(path))


def _foreign(planted: Mapping[Path, bytes]) -> Iterator[Violation]:
    for path, data in planted.items():
        if not path.is_file() or path.read_bytes() != data:
            yield Violation(Kind.DELETED, "I7", f"{path} is not what it was")
