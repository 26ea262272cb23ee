"""Tables as Postfix has them: which keys an address is looked for by, and what the value found means."""

from collections.abc import Iterator
from enum import Enum

from lmtpd.recipients.entry import Entry, EntryError, read_targets
from lmtpd.recipients.lookup import Question


class Result(Enum):
    """What the value of a table means."""

    USER = "user"  # nothing: that there is one says that there is the user (virtual_mailbox_maps elsewhere)
    MAILDIR = "maildir"  # the path of the Maildir (virtual_mailbox_maps of virtual(8))
    ALIAS = "alias"  # other addresses (virtual_alias_maps)


def keys_of(question: Question) -> Iterator[str]:
    """Yield the keys in the order of virtual(5): with the detail, without, and the whole domain."""
    full = question.full_address
    if full is not None and full.isprintable():
        yield full
    yield question.address
    if question.domain:
        yield f"@{question.domain}"


def entry_of_result(value: str, result: Result) -> Entry:
    """Read a value. EntryError."""
    match result:
        case Result.USER:
            return Entry()
        case Result.ALIAS:
            return Entry(targets=read_targets(value))
        case Result.MAILDIR:
            if not value.strip() or not value.isprintable():
                raise EntryError(f"{value!r} is no path")
            if not value.endswith("/"):
                raise EntryError(f'{value!r} has no "/" at its end, so virtual(8) takes it for an mbox file')
            return Entry(maildir=value.rstrip("/") or "/")
