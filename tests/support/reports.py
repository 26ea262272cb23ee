"""Reports for tests, and the two ends they go to: a log that can be blocked, a history that can fail."""

import os
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from lmtpd.report.records import RecipientReport
from lmtpd.report.reporter import Reporter

AT = 1_795_510_800.0
WAIT_S = 30  # never reached


def report(number: int = 0, **fields: Any) -> RecipientReport:  # Any: whatever the fields are
    """Make a report that has what every report has, and fields."""
    values: dict[str, Any] = {
        "at": AT,
        "id": f"id{number}",
        "recipient": "bob@example.net",
        "outcome": "delivered",
        "reply": "250 2.0.0 x",
    }
    return RecipientReport(**{**values, **fields})


class Log:
    """A pipe that a Reporter writes to."""

    def __init__(self) -> None:
        self.reader, self.fd = os.pipe()
        os.set_blocking(self.reader, False)

    def read(self) -> str:
        """Take what is there."""
        data = b""
        with suppress(BlockingIOError):
            while piece := os.read(self.reader, 1 << 20):
                data += piece
        return data.decode()

    def read_until(self, text: str) -> str:
        """Read until text has come."""
        os.set_blocking(self.reader, True)
        found = ""
        while text not in found:
            found += os.read(self.reader, 4096).decode()
        os.set_blocking(self.reader, False)
        return found

    def fill(self) -> None:
        """Write until nothing more fits: from now on a writer would wait."""
        os.set_blocking(self.fd, False)
        with suppress(BlockingIOError):
            while True:
                os.write(self.fd, b"x" * 4095 + b"\n")
        os.set_blocking(self.fd, True)

    def close(self) -> None:
        """Close both ends."""
        os.close(self.reader)
        os.close(self.fd)


class Rows:
    """A history that keeps reports in memory, or fails."""

    def __init__(self) -> None:
        self.rows: list[RecipientReport] = []
        self.error: Exception | None = None
        self.failed = threading.Event()
        self.added = threading.Event()

    def add(self, reports: Sequence[RecipientReport]) -> None:
        """Keep reports, or raise the error."""
        if self.error is not None:
            self.failed.set()
            raise self.error
        self.rows += reports
        self.added.set()


def reporter(log: Log, **settings: Any) -> Reporter:  # Any: whatever the settings are
    """Make a Reporter that writes to log and tries again at once."""
    return Reporter(fd=log.fd, clock=lambda: AT, **{"retry_s": 0, **settings})
