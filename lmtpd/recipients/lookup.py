"""Places that are asked for a user by name: the question, the protocol, and the ways to fail."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from lmtpd.recipients.entry import Entry


class LookupFailed(Exception):
    """The question has no certain answer now, for this user."""


class AskAgain(LookupFailed):
    """It may have one soon."""


class SourceDown(LookupFailed):
    """Nor for any other user."""


class SourceFaulty(SourceDown):
    """Nor at any later time, until somebody mends the configuration or the source."""


class CannotList(Exception):
    """The place is asked for one user at a time, and does not tell who they all are; the text says why."""


@dataclass(frozen=True, slots=True)
class Question:
    """Whom a source is asked for; user is folded, domain in lower case, "" for none."""

    user: str
    detail: str | None
    domain: str
    delimiter: str = "+"

    @property
    def address(self) -> str:
        """The plain address, without the detail and without quotes."""
        return f"{self.user}@{self.domain}" if self.domain else self.user

    @property
    def full_address(self) -> str | None:
        """The same with the detail, if there is one."""
        if self.detail is None:
            return None
        local = f"{self.user}{self.delimiter}{self.detail}"
        return f"{local}@{self.domain}" if self.domain else local

    def parameters(self) -> Mapping[str, str]:
        """What can be filled in into queries and filters (query.PARAMETERS)."""
        detail = self.detail or ""
        return {"address": self.address, "user": self.user, "domain": self.domain, "detail": detail}


class Lookup(Protocol):
    """One place that is asked for users. Thread-safe."""

    name: str
    asks_for_detail: bool  # the answer may differ between details of one user

    def find(self, question: Question) -> Entry | None:
        """Return what is known, None if there certainly is no such user. LookupFailed, EntryError."""

    def users(self) -> Iterator[str]:
        """Yield everybody it knows: "user@domain", or "user" for one of every domain.

        Of whoever is listed `find` knows more, or that he is none: an alias, say. For scripts, not for
        deliveries: it may take long. CannotList, LookupFailed, EntryError.
        """

    def close(self) -> None:
        """Let go of connections."""
