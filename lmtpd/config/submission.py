"""The table `[submission]`: how mail of our own reaches the MTA; without it there is none, and no DSN."""

import re
from dataclasses import dataclass
from typing import Annotated

from pydantic import BeforeValidator

from lmtpd.config import values
from lmtpd.config.section import Section

_HOST_AND_PORT = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]+)):([0-9]{1,5})", re.ASCII)


@dataclass(frozen=True, slots=True)
class SmtpServer:
    """An SMTP server's host and port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def _smtp_server(value: object) -> SmtpServer:
    """Accept `HOST:PORT`, an IPv6 address in brackets."""
    if isinstance(value, SmtpServer):
        return value
    match = _HOST_AND_PORT.fullmatch(values.text(value))
    if match is None or not 1 <= int(match[3]) <= 65535:
        raise ValueError('must be HOST:PORT, such as "127.0.0.1:25"')
    return SmtpServer(match[1] or match[2], int(match[3]))


def _program(value: object) -> str:
    """Accept the absolute path of a program."""
    path = values.text(value)
    if not path.startswith("/"):
        raise ValueError('must be the absolute path of a program, such as "/usr/sbin/sendmail"')
    return path


class Submission(Section):
    """One of the two, or none."""

    smtp: Annotated[SmtpServer, BeforeValidator(_smtp_server)] | None = None
    """The SMTP server that takes our notices."""
    sendmail: Annotated[str, BeforeValidator(_program)] | None = None
    """The program that takes them instead."""

    @property
    def is_configured(self) -> bool:
        """Whether mail can be sent."""
        return self.smtp is not None or self.sendmail is not None

    def __str__(self) -> str:
        """Say it in a word; "" if nothing is configured."""
        if self.smtp is not None:
            return f"SMTP to {self.smtp}"
        return self.sendmail or ""
