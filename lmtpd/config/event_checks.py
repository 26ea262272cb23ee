"""What of `[[events]]` cannot work."""

import os
import stat
from collections.abc import Iterator
from urllib.parse import urlsplit

from lmtpd.config.events import Events
from lmtpd.config.problems import Finding
from lmtpd.config.schema import Config


def check_events(config: Config, *, here: bool) -> Iterator[Finding]:
    """Find what cannot work. here: this process may do what the server will."""
    names = [each.name for each in config.events]
    for index, each in enumerate(config.events):
        if each.name in names[:index]:
            yield Finding(("events", index, "name"), "is the name of another receiver", each.name)
        if len(each.means) != 1:
            yield Finding(
                ("events", index),
                "needs exactly one of command, socket and webhook, to say how the receiver is told",
            )
        if each.token_file is not None and each.webhook is None:
            yield Finding(("events", index, "token_file"), "goes with a webhook only", each.token_file)
        if here:
            yield from _on_this_machine(each, index)
    if config.events and config.delivery.duplicates != "unconfirmed":
        yield Finding(
            ("delivery", "duplicates"),
            "cannot be combined with [[events]]: they are written with the records that recognise retries",
            config.delivery.duplicates,
            judged_by=(("events",),),
        )


def event_warnings(config: Config) -> Iterator[str]:
    """Say what works but may not be meant."""
    for each in config.events:
        parts = urlsplit(each.webhook or "")
        if parts.scheme == "http" and parts.hostname not in ("localhost", "127.0.0.1", "::1"):
            yield f"events: {each.name}: what is told leaves this machine unencrypted, by http://"


def _on_this_machine(each: Events, index: int) -> Iterator[Finding]:
    if each.command is not None:
        program = each.command[0]
        if not (os.path.isfile(program) and os.access(program, os.X_OK)):
            yield Finding(
                ("events", index, "command"), "is not a program that can be run", list(each.command)
            )
    if each.socket is not None:
        try:
            is_socket = stat.S_ISSOCK(os.stat(each.socket).st_mode)
        except OSError:
            # A receiver that is not there yet is waited for; a directory that is not there is a mistake.
            is_socket = os.path.isdir(os.path.dirname(each.socket))
        if not is_socket:
            yield Finding(("events", index, "socket"), "is no socket, and none can appear there", each.socket)
    if each.token_file is not None and not os.access(each.token_file, os.R_OK):
        yield Finding(("events", index, "token_file"), "cannot be read", each.token_file)
