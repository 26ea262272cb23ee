"""Parsers for single values: what a key may hold, and the sentence that says so when it does not.

Each function takes what TOML delivered and returns the parsed value or raises ValueError; the message
completes "KEY = VALUE: ..." and names what is allowed.  Nothing here looks at a second key.
"""

import difflib
import grp
import ipaddress
import os
import pwd
import re
from collections.abc import Sequence

from pydantic import BeforeValidator

# struct sockaddr_un has 108 bytes for the path, one of them for the closing NUL (unix(7)).
SOCKET_PATH_OCTETS = 107
HOSTNAME_OCTETS = 255  # RFC 5321 4.5.3.1.2
SMTP_PORT = 25
RECIPIENT = "recipient"  # of server.run_as: no user of this name is meant

_LABEL = r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_HOSTNAME = re.compile(rf"{_LABEL}(\.{_LABEL})*")
_LOCAL_PART = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]{1,64}")
_MODE = re.compile(r"0?[0-7]{3}")
_HOST_AND_PORT = re.compile(r"(?:\[([^\[\]]*)\]|([^\[\]:]*)):([0-9]{1,5})", re.ASCII)

_KINDS = {
    str: "a string",
    bool: "a boolean",
    int: "a number",
    float: "a number",
    list: "a list",
    dict: "a table",
}

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def text(value: object) -> str:
    """Accept a non-empty string without control characters."""
    if not isinstance(value, str):
        raise ValueError(f"must be a string, not {kind(value)}")  # noqa: TRY004 - what pydantic collects
    if not value:
        raise ValueError("must not be empty")
    if any(ord(character) < 32 or ord(character) == 127 for character in value):
        raise ValueError("must not contain control characters")
    return value


def kind(value: object) -> str:
    """Name the type of a TOML value as its author would."""
    return next((name for type_, name in _KINDS.items() if isinstance(value, type_)), "a date or time")


def whole(minimum: int, maximum: int) -> BeforeValidator:
    """Make the parser of a whole number in a range, both ends included."""

    def parse(value: object) -> int:
        # bool is an int in Python, but "workers = true" is a mistake.
        if not isinstance(value, int) or isinstance(value, bool) or not minimum <= value <= maximum:
            raise ValueError(f"must be a whole number from {minimum} to {maximum}")
        return value

    return BeforeValidator(parse)


def choice(*words: str) -> BeforeValidator:
    """Make the parser of one word out of a few."""

    return BeforeValidator(lambda value: word(value, words))


def word(value: object, words: Sequence[str]) -> str:
    """Accept one word out of a few."""
    if value not in words or not isinstance(value, str):
        raise ValueError(f"must be {listed(words)}{closest(value, words)}")
    return value


def listed(words: Sequence[str]) -> str:
    """Write `"a", "b" or "c"`."""
    quoted = [f'"{word}"' for word in words]
    return " or ".join(filter(None, [", ".join(quoted[:-1]), quoted[-1]]))


def closest(value: object, allowed: Sequence[str]) -> str:
    """Write "; did you mean X?" when a misspelt word has a near neighbour, else nothing."""
    near = difflib.get_close_matches(str(value).lower(), allowed, n=1)
    return f'; did you mean "{near[0]}"?' if near else ""


def switch(value: object) -> bool:
    """Accept true or false."""
    if not isinstance(value, bool):
        raise ValueError("must be true or false")  # noqa: TRY004 - what pydantic collects
    return value


def path(value: object) -> str:
    """Accept a path; a relative one counts from the directory the command was started in."""
    given = text(value)
    # A shell would have expanded it; taken literally it would make a directory of that name.
    if given.startswith("~"):
        raise ValueError("must be written without ~: nobody's home directory is filled in")
    return os.path.abspath(given)


def socket_path(value: object) -> str:
    """Accept the path of a unix socket, which the kernel limits in length."""
    result = path(value)
    if len(os.fsencode(result)) > SOCKET_PATH_OCTETS:
        raise ValueError(
            f"must be at most {SOCKET_PATH_OCTETS} octets long as an absolute path, the kernel's limit"
        )
    return result


def socket_mode(value: object) -> int:
    """Accept the permission bits of a socket as an octal string."""
    # A bare number would be decimal in TOML: mode = 660 is not rw-rw----.
    if not isinstance(value, str) or not _MODE.fullmatch(value):
        raise ValueError('must be three octal digits in quotes, such as "0660"')
    return int(value, 8)


def host_and_port(value: object) -> tuple[str, int]:
    """Accept HOST:PORT or [IPV6]:PORT, never port 25; port 0 lets the kernel choose one."""
    match = _HOST_AND_PORT.fullmatch(text(value))
    if match is None:
        raise ValueError('must be HOST:PORT, such as "127.0.0.1:24" or "[::1]:24"')
    host, port = match[1] or match[2], int(match[3])
    if match[1] is not None and not _is_ipv6(match[1]):
        raise ValueError("must have an IPv6 address between the brackets")
    if not host:
        raise ValueError('must name the host: "127.0.0.1" for this machine only, "0.0.0.0" or "[::]" for all')
    if port > 65535:
        raise ValueError("must have a port from 0 to 65535")
    if port == SMTP_PORT:
        raise ValueError("LMTP must not be served on port 25 (RFC 2033 5): take port 24, say")
    return host, port


def loopback(value: object) -> tuple[str, int]:
    """Accept HOST:PORT of this machine only."""
    host, port = host_and_port(value)
    if host != "localhost" and not (_is_address(host) and ipaddress.ip_address(host).is_loopback):
        raise ValueError('must be on the loopback interface, such as "127.0.0.1:9824" or "[::1]:9824"')
    return ("127.0.0.1" if host == "localhost" else host), port


def _is_address(given: str) -> bool:
    try:
        ipaddress.ip_address(given)
    except ValueError:
        return False
    return True


def _is_ipv6(given: str) -> bool:
    try:
        ipaddress.IPv6Address(given)
    except ValueError:
        return False
    return True


def hostname(value: object) -> str:
    """Accept a host name: it goes into the greeting, Received headers and file names."""
    name = text(value)
    if len(name) > HOSTNAME_OCTETS or not _HOSTNAME.fullmatch(name):
        raise ValueError(
            'must be a host name such as "mx.example.org": letters, digits and hyphens,'
            f" at most {HOSTNAME_OCTETS} octets"
        )
    return name


def delimiters(value: object) -> str:
    """Accept the characters that separate user from detail; none at all means: no details."""
    if value == "":
        return ""
    given = text(value)
    if len(set(given)) < len(given) or not all(
        "!" <= each <= "~" and each not in '@/"\\<>{}' for each in given
    ):
        raise ValueError('must be different ASCII punctuation characters, such as "+" or "+-"')
    if any(each.isalnum() for each in given):
        raise ValueError("must not contain letters or digits: they are part of names")
    return given


def network(value: object) -> Network:
    """Accept an address or a network in CIDR form."""
    given = text(value)
    try:
        result = ipaddress.ip_network(given, strict=False)
    except ValueError as exc:
        raise ValueError('must be a network such as "192.0.2.0/24", "2001:db8::/32" or one address') from exc
    # 192.0.2.7/24: one host or its whole network?  Trust is not a thing to guess about.
    if ipaddress.ip_interface(given).ip != result.network_address:
        raise ValueError(f'has bits set behind the prefix length; did you mean "{result}"?')
    return result


def ledger_path(value: object) -> str:
    """Accept sqlite:///PATH, where PATH is absolute, and return the path."""
    given = text(value)
    if given.startswith(("postgresql:", "postgres:")):
        raise ValueError("a PostgreSQL ledger is not available in this version: use sqlite:///PATH")
    if not given.startswith("sqlite:///") or not given.strip("/").removeprefix("sqlite:").strip("/"):
        raise ValueError('must be sqlite:///PATH, such as "sqlite:///var/lib/lmtpd/ledger.db"')
    return os.path.abspath("/" + given.removeprefix("sqlite:///").lstrip("/"))


def user_name(value: object) -> str:
    """Accept the name of a system user."""
    name = text(value)
    try:
        pwd.getpwnam(name)
    except KeyError:
        raise ValueError("there is no such user on this machine") from None
    return name


def group_name(value: object) -> str:
    """Accept the name of a system group."""
    name = text(value)
    try:
        grp.getgrnam(name)
    except KeyError:
        raise ValueError("there is no such group on this machine") from None
    return name


def run_as(value: object) -> str:
    """Accept the name of the user that the server, started as root, becomes, or "recipient"."""
    return RECIPIENT if value == RECIPIENT else user_name(value)


def address(value: object) -> str:
    """Accept a full mail address without brackets, of the plain kind: nothing quoted, domain in ASCII."""
    given = text(value)
    local, _, domain = given.rpartition("@")
    if not _LOCAL_PART.fullmatch(local) or not _HOSTNAME.fullmatch(domain):
        raise ValueError('must be a full address, such as "postmaster@example.org"')
    return given
