"""Delivering a message by storage alone, as the steps of a delivery do."""

import secrets
import time
from collections.abc import Callable

from storage.disk import Disk
from storage.maildir import Durability, MaildirPath
from storage.maildirs import CAPACITY, Maildirs
from storage.names import NameSource, with_sizes

ROOT = "/srv/mail"
USER = MaildirPath(ROOT, ("example.org", "user"))
PATH = "/srv/mail/example.org/user"


def maildirs_on(
    disk: Disk,
    *,
    token: str = "",
    durable: Durability = Durability.FULL,
    dead: frozenset[str] = frozenset(),
    capacity: int = CAPACITY,
    clock: Callable[[], float] = time.time,
) -> Maildirs:
    """Return the Maildirs of a new process."""
    names = NameSource("mx.example.org", token or secrets.token_hex(8))
    return Maildirs(disk, names, durable=durable, dead_tokens=lambda: dead, capacity=capacity, clock=clock)


def deliver(
    maildirs: Maildirs,
    body: bytes,
    *,
    where: MaildirPath = USER,
    create: bool = True,
    intend: Callable[[str, str], None] = lambda tmp, name: None,
) -> str:
    """Deliver one message; return its name. On return it is durable.

    intend stands for the ledger: called with both names before anything is visible.
    """
    maildir = maildirs.open(where, create=create)
    with maildir.stage() as staged:
        staged.write(body)
        staged.sync()
        name = with_sizes(staged.name, staged.octets, staged.octets + body.count(b"\n"))
        intend(staged.name, name)
        staged.publish(name)
    maildir.sync()
    return name
