"""What `lmtpd init` writes: the templates beside this module, filled in for a host."""

import json
import os
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files as resources
from pathlib import Path
from typing import Self

from scripts.shell.timer import quoted
from storage.retention import Rule

CONFIG = "/etc/lmtpd/lmtpd.toml"
UNITS = "etc/systemd/system"
SOCKET_OCTETS = 107  # unix(7), sun_path

# systemd reads %, quotes and blanks in its own ways, in each setting differently.
_PLAIN_PATH = re.compile(r"/[A-Za-z0-9._@+/-]*")
_USER = re.compile(r"[a-z_][a-z0-9_-]{0,30}")
_PLACEHOLDER = re.compile(r"@([A-Z_]+)@")
# The units give the server a /tmp of its own, and what lies here is hidden from it or made anew at each boot.
_NO_MAIL_BELOW = ("/tmp", "/var/tmp", "/run", "/dev", "/proc", "/sys")  # noqa: S108 - refused, not used
_HOMES = ("/home", "/root", "/run/user")


class UnusableHost(Exception):
    """No units can be written for this; the text says what is wrong and what is allowed."""


@dataclass(frozen=True, slots=True)
class Host:
    """What differs from host to host; all of it checked."""

    hostname: str
    mailboxes: str
    mail_root: str
    user: str
    socket: str
    rules: tuple[str, ...]
    programs: str  # the directory of lmtpd and the scripts
    protect_home: str
    web: bool = False  # a unit for the page as well

    @classmethod
    def here(
        cls, *, hostname: str, mailboxes: str, mail_root: str, user: str, socket: str, rules: Sequence[str]
    ) -> Self:
        """Check everything. UnusableHost names the first thing that cannot be."""
        programs = os.path.dirname(os.path.abspath(sys.executable))
        for what, path in (("--mailboxes", mail_root), ("--socket", socket), ("this program", programs)):
            if not _PLAIN_PATH.fullmatch(path):
                raise UnusableHost(f"{what}: {path}: must be absolute, of letters, digits and . _ @ + - only")
        if mail_root == "/":
            raise UnusableHost(
                f"--mailboxes: {mailboxes}: must have a directory before the first placeholder"
            )
        if _is_below(mail_root, _NO_MAIL_BELOW):
            raise UnusableHost(f"--mailboxes: {mail_root}: no place for mail: it does not last, or is hidden")
        if len(socket) > SOCKET_OCTETS:
            raise UnusableHost(f"--socket: {socket}: is longer than {SOCKET_OCTETS} octets")
        if not _USER.fullmatch(user):
            raise UnusableHost(f"--user: {user!r}: must be the name of a system user, such as vmail")
        if user == "root":
            raise UnusableHost("--user: root: must be a user without privileges, such as vmail")
        for rule in rules:
            try:
                Rule.parse(rule)
            except ValueError as exc:
                raise UnusableHost(f"--keep: {rule}: {exc}") from exc
        seen = (mail_root, programs, sys.prefix, sys.base_prefix)
        protect_home = "read-only" if any(_is_below(path, _HOMES) for path in seen) else "yes"
        return cls(hostname, mailboxes, mail_root, user, socket, tuple(rules), programs, protect_home)

    @property
    def timers(self) -> Sequence[str]:
        """Name the timers that are written."""
        return ("lmtpd-clean.timer", "lmtpd-expire.timer") if self.rules else ("lmtpd-clean.timer",)


def files(host: Host) -> dict[str, str]:
    """Return path and text of each file, the paths relative to the root directory."""
    values = {
        "HOSTNAME": _toml(host.hostname),
        "MAILBOXES": _toml(host.mailboxes),
        "MAIL_ROOT": host.mail_root,
        "USER": host.user,
        "SOCKET": host.socket,
        "SOCKET_DIRECTORY": os.path.dirname(host.socket),
        "BIN": host.programs,
        "PROTECT_HOME": host.protect_home,
    }
    values["HARDENING"] = _filled("hardening", values)
    made = {CONFIG.lstrip("/"): _filled("lmtpd.toml", values)}
    for name in ("lmtpd.socket", "lmtpd.service"):
        made[f"{UNITS}/{name}"] = _filled(name, values)
    made |= _nightly(
        "lmtpd-clean", "Remove what interrupted deliveries left in Maildirs", ["maildir-clean"], values
    )
    if host.web:
        made[f"{UNITS}/lmtpd-web.service"] = _filled("lmtpd-web.service", values)
    if host.rules:
        command = ["maildir-expire", *(word for rule in host.rules for word in ("--keep", rule))]
        made |= _nightly("lmtpd-expire", "Take old mail out of folders", command, values)
    return made


def main_cf(host: Host, queue: str) -> str:
    """Return what belongs into Postfix's main.cf."""
    inside = host.socket.startswith(f"{queue}/")
    path = str(Path(host.socket).relative_to(queue)) if inside else host.socket
    return _filled("main.cf", {"POSTFIX_SOCKET": path})


def _nightly(name: str, what: str, command: Sequence[str], values: Mapping[str, str]) -> dict[str, str]:
    line = " ".join(quoted(word) for word in (*command, "--all", "--config", CONFIG))
    own = {**values, "WHAT": what, "COMMAND": line}
    return {f"{UNITS}/{name}.{kind}": _filled(f"nightly.{kind}", own) for kind in ("service", "timer")}


def _filled(name: str, values: Mapping[str, str]) -> str:
    text = resources(__package__).joinpath("templates", name).read_text(encoding="utf-8")
    return _PLACEHOLDER.sub(lambda found: values[found[1]], text)


def _toml(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _is_below(path: str, places: Sequence[str]) -> bool:
    return any(path == place or path.startswith(f"{place}/") for place in places)
