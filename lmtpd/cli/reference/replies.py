"""Every reply: code, enhanced code, text, what brought it about, and what to do."""

import inspect
from collections.abc import Callable, Iterator
from typing import NamedTuple

from lmtpd.cli.reference.attributes import texts
from lmtpd.cli.reference.markup import anchored, code, inline, table
from lmtpd.protocol import replies
from lmtpd.protocol.replies import Reply

_INTRODUCTION = """# Replies

Postfix logs these as `status=deferred (host ... said: 451 4.3.0 ...)`. A 4xx makes it try again; a 5xx
makes it bounce, so whatever is our own fault or the machine's is a 4xx. What exactly went wrong is in [the
log](log.md), in `cause` (the words in parentheses below) and `detail`; `lmtpd trace` shows both.
"""
_MARK = " Mend: "
_SAMPLES: dict[str, object] = {
    "hostname": "mx.example.org",
    "octets": 104_857_600,
    "starttls": True,
    "xforward": True,
    "dsn": True,
    "address": "bob@example.org",
    "transaction_id": "1f3a77c0000012",
    "why": "...",
}


class Described(NamedTuple):
    """A reply and what is to be said of it."""

    name: str
    reply: Reply
    cause: str
    mend: str


def page() -> str:
    """Write the page, a reply a row, by code."""
    rows = [
        (
            anchored(each.name.lower(), code(f"{each.reply.code} {each.reply.status}".strip())),
            code(" / ".join(each.reply.lines)),
            inline(each.cause),
            inline(each.mend),
        )
        for each in sorted(described(), key=lambda each: (each.reply.code, each.reply.status))
    ]
    return f"{_INTRODUCTION}\n{table(('reply', 'text', 'cause', 'what to do'), rows)}"


def described() -> Iterator[Described]:
    """Yield every reply that the server can send."""
    below = texts(replies)
    for name, value in vars(replies).items():
        if isinstance(value, Reply):
            cause, _, mend = below.get(name, "").partition(_MARK)
            yield Described(name, value, cause.strip(), _sentence(mend))
        elif inspect.isfunction(value) and not name.startswith("_") and value.__module__ == replies.__name__:
            yield Described(name, _sample(value), *_of_function(value))


def _of_function(function: Callable[..., Reply]) -> tuple[str, str]:
    first = (function.__doc__ or "").partition("\n")[0]
    return _sentence(first.removeprefix("Return ")), "" if _sample(
        function
    ).accepted else "The client's program."


def _sample(function: Callable[..., Reply]) -> Reply:
    return function(**{name: _SAMPLES[name] for name in inspect.signature(function).parameters})


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:].strip()
