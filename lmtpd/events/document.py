"""An event as it is sent: one JSON object on one line. docs/events.md lists the fields. Pure."""

import hashlib
import json
from collections.abc import Mapping

VERSION = 1


def composed(kind: str, about: str, at: float, facts: Mapping[str, object]) -> str:
    """Write an event. about: the mailbox or recipient that receivers choose by; what is empty is left out."""
    known = {name: value for name, value in facts.items() if value not in ("", None)}
    return json.dumps({"version": VERSION, "kind": kind, "at": round(at, 3), "mailbox": about, **known})


def identified(event: str, *parts: str) -> str:
    """Give an event an id that is the same whenever the same parts are."""
    return json.dumps({"id": identity(*parts), **json.loads(event)})


def identity(*parts: str) -> str:
    """Make an id: 32 hexadecimal digits."""
    text = "\0".join(parts).encode("utf-8", "surrogatepass")
    return hashlib.sha256(text).hexdigest()[:32]


def delivered(event: str, maildir: str, name: str) -> str:
    """Complete the event of a delivery by its file, which tells it from every other."""
    document = {**json.loads(event), "maildir": maildir, "file": name}
    return identified(json.dumps(document), maildir, name)
