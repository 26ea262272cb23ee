"""The tables `[[events]]`: who is told of what has happened, and of which of it."""

import re
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import BeforeValidator

from lmtpd.config import source_values, values
from lmtpd.config.section import PathText, Section

EventKind = Literal["delivered", "refused", "deferred", "quota"]
KINDS: tuple[EventKind, ...] = ("delivered", "refused", "deferred", "quota")
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")


def _name(value: object) -> str:
    """Accept a name of 1 to 40 of a-z, 0-9, _ and -."""
    given = values.text(value)
    if not _NAME.fullmatch(given):
        raise ValueError("must be 1 to 40 of a-z, 0-9, _ and -, the first of them a letter or digit")
    return given


def _kinds(value: object) -> tuple[str, ...]:
    """Accept a list of "delivered", "refused", "deferred", "quota"."""
    if not isinstance(value, list) or not value:
        raise ValueError(f"must be a list of at least one of {values.listed(KINDS)}")
    return tuple(values.word(each, KINDS) for each in value)


def _command(value: object) -> tuple[str, ...]:
    """Accept a program, by its absolute path, and its arguments."""
    if not isinstance(value, list) or not value:
        raise ValueError('must be a program and its arguments, such as ["/usr/local/bin/on-mail", "-v"]')
    words = tuple(values.text(each) for each in value)
    if not words[0].startswith("/"):
        raise ValueError("must begin with the absolute path of a program: there is no shell to look for it")
    return words


def _webhook(value: object) -> str:
    """Accept a URL that begins with https:// or http://."""
    given = values.text(value)
    wrong = 'must be a URL that begins with https:// or http://, such as "https://example.org/x"'
    try:
        parts = urlsplit(given)
        is_usable = bool(parts.port != 0 and parts.hostname and parts.scheme in ("https", "http"))
    except ValueError as exc:
        raise ValueError(wrong) from exc
    if not is_usable or not given.isascii() or " " in given:
        raise ValueError(wrong)
    if parts.username is not None or parts.fragment:
        raise ValueError("must not contain a user, a password or a fragment: a token goes into token_file")
    return given


class Events(Section):
    """One receiver: a command, a unix socket or a webhook."""

    name: Annotated[str, BeforeValidator(_name)]
    """Under which its queue is kept, and its figures; unique."""
    kinds: Annotated[tuple[EventKind, ...], BeforeValidator(_kinds)] = ("delivered", "refused", "quota")
    """What it is told of."""
    domains: Annotated[tuple[str, ...], BeforeValidator(source_values.domains)] = ()
    """Whose events: those of these domains, and of `recipients`; with neither everybody's."""
    recipients: Annotated[tuple[str, ...], BeforeValidator(source_values.addresses_or_none)] = ()
    """As `domains`, for single mailboxes."""
    command: Annotated[tuple[str, ...], BeforeValidator(_command)] | None = None
    """A program and its arguments, run without a shell; it reads a JSON object on each line."""
    socket: Annotated[str, BeforeValidator(values.socket_path)] | None = None
    """A unix socket, which is sent a JSON object on each line and answers each with `ok`."""
    webhook: Annotated[str, BeforeValidator(_webhook)] | None = None
    """A URL, which a JSON object with a list of events is posted to."""
    token_file: PathText | None = None
    """A file with a token for `webhook`, sent as `Authorization: Bearer`."""
    user: Annotated[str, BeforeValidator(values.user_name)] = "nobody"
    """Whose rights `command` has where the server stays root."""
    batch: Annotated[int, values.whole(1, 1000)] = 1
    """How many events are sent at a time, at most."""
    timeout_s: Annotated[int, values.whole(1, 600)] = 30
    """How long it may take over a batch."""
    # A week, and some hundred thousand events.
    keep_s: Annotated[int, values.whole(60, 31_536_000)] = 604_800
    """How long an event waits for it at most."""
    keep_octets: Annotated[int, values.whole(2**16, 2**40)] = 2**26
    """How much waits for it at most; the oldest goes first."""

    @property
    def means(self) -> tuple[str, ...]:
        """The keys, of which there must be one, that say how it is told."""
        return tuple(key for key in ("command", "socket", "webhook") if getattr(self, key) is not None)
