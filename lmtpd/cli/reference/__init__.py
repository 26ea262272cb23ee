"""The reference, written from the code: each page of Markdown is made when the documentation is built.

The rule: what a page says stands beside what it describes, so that nothing here can be out of date.
"""

from collections.abc import Iterator

from lmtpd.cli.reference import commands, log, metrics, replies, settings


def pages() -> Iterator[tuple[str, str]]:
    """Yield the name and the Markdown of every page."""
    yield "settings.md", settings.page()
    yield "replies.md", replies.page()
    yield "log.md", log.page()
    yield "metrics.md", metrics.page()
    yield "commands.md", commands.page()
