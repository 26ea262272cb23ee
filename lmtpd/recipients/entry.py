"""What a source knows of one user: an `Entry`, read from the texts that files, tables and servers hold.

The rule: a value that cannot be read is the administrator's mistake, so it is an error (451, and said in
full), never a guess and never "no such user".
"""

import grp
import pwd
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lmtpd.protocol.addresses import Address, AddressError, parse_path
from lmtpd.recipients.mailbox import MailboxOwner
from lmtpd.recipients.query import FIELDS
from lmtpd.recipients.rules import Detail
from storage.folders import FolderNames, Layout
from storage.quota_limit import QuotaLimit

# May stand in a query's columns and mean nothing, for "SELECT user FROM users WHERE ...".
IGNORED = ("user", "domain", "address")
TARGETS = 1000  # of one alias; as Postfix (virtual_alias_expansion_limit)

_ROOT_UID = 0


class EntryError(ValueError):
    """What a source says of a user cannot be used; the message says why and what is allowed."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One user, or one alias; None where the source says nothing."""

    home: str | None = None
    maildir: str | None = None
    owner: MailboxOwner | None = None
    quota: QuotaLimit | None = None
    detail: Detail | None = None
    script: str | None = None
    layout: Layout | None = None
    names: FolderNames | None = None
    targets: tuple[Address, ...] = ()  # an alias stands for these


def read_entry(fields: Mapping[str, object]) -> Entry:
    """Make an entry of named texts; empty ones and None say nothing. EntryError."""
    given = {name: value for name, value in fields.items() if value is not None and value not in ("", b"")}
    if unknown := [name for name in given if name not in FIELDS and name not in IGNORED]:
        raise EntryError(f"{unknown[0]!r} means nothing here; what does is {', '.join(FIELDS)}")
    texts = {name: _text(name, value) for name, value in given.items() if name not in ("alias", *IGNORED)}
    home = texts.get("home")
    if home is not None and not home.startswith("/"):
        raise EntryError(f"home {home!r} must be an absolute path")
    return Entry(
        home=home,
        maildir=texts.get("maildir"),
        owner=_owner(texts),
        quota=read_quota(texts["quota"]) if "quota" in texts else None,
        detail=_detail(texts["detail"]) if "detail" in texts else None,
        script=texts.get("script"),
        targets=read_targets(given["alias"]) if "alias" in given else (),
    )


def read_quota(text: str) -> QuotaLimit:
    """Read our own form of a quota, or Dovecot's rule for all folders. EntryError."""
    try:
        return QuotaLimit.parse_rule(text) if text[:1] in "*?" else QuotaLimit.parse(text)
    except ValueError as exc:
        raise EntryError(f"quota {text!r} {exc}") from exc


def read_targets(value: object) -> tuple[Address, ...]:
    """Read an alias's targets: a text with commas or blanks between them, or several texts. EntryError."""
    values = value if isinstance(value, Sequence) and not isinstance(value, str | bytes) else [value]
    texts = [word for each in values for word in _text("alias", each).replace(",", " ").split()]
    if not texts:
        raise EntryError("alias names nobody")
    if len(texts) > TARGETS:
        raise EntryError(f"alias has more than {TARGETS} targets")
    return tuple(dict.fromkeys(map(read_address, texts)))


def read_address(text: str) -> Address:
    """Read one address without brackets. EntryError."""
    octets = f"<{text}>".encode(errors="surrogateescape")
    try:
        address, end = parse_path(octets, smtputf8=True)
    except AddressError as exc:
        raise EntryError(f"{text!r} is no address: {exc}") from exc
    if address is None or end != len(octets):
        raise EntryError(f"{text!r} is no address")
    return address


def read_owner(uid: str, gid: str) -> MailboxOwner:
    """Read numbers, or names of this machine's users and groups. EntryError."""
    owner = MailboxOwner(_number(uid, "uid"), _number(gid, "gid"))
    if owner.uid == _ROOT_UID:
        raise EntryError("uid 0: mail is not delivered with root's rights")
    return owner


def _owner(texts: Mapping[str, str]) -> MailboxOwner | None:
    if "uid" not in texts and "gid" not in texts:
        return None
    if "uid" not in texts or "gid" not in texts:
        raise EntryError("uid and gid must be given together")
    return read_owner(texts["uid"], texts["gid"])


def _number(text: str, kind: str) -> int:
    if text.isascii() and text.isdigit():
        return int(text)
    try:
        return pwd.getpwnam(text).pw_uid if kind == "uid" else grp.getgrnam(text).gr_gid
    except KeyError as exc:
        raise EntryError(f"{kind} {text!r} is neither a number nor a name on this machine") from exc


def _detail(text: str) -> Detail:
    try:
        return Detail(text)
    except ValueError as exc:
        allowed = ", ".join(each.value for each in Detail)
        raise EntryError(f"detail {text!r} must be one of {allowed}") from exc


def _text(name: str, value: object) -> str:
    if isinstance(value, bytes | bytearray):
        try:
            value = value.decode()
        except UnicodeDecodeError as exc:
            raise EntryError(f"{name} is not UTF-8 text") from exc
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        raise EntryError(f"{name} must be text or a whole number, not {type(value).__name__}")
    if not value.isprintable():
        raise EntryError(f"{name} {value!r} has control characters in it")
    return value
