"""Handing facts to a command or a web address, behind the work: not faster than allowed, not in its way."""

import json
import queue
import re
import shlex
import shutil
import subprocess
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Sequence

import click

from scripts.shell.crew import Fact

# What waits to be sent; more is dropped, and said to be.
WAITING = 10_000
TIMEOUT_S = 10.0
# One message to a web address holds at most so many.
TOGETHER = 100
_TRIES = 3
# How long a script that ends waits for what is still to be sent.
_LAST_S = 10.0
PLACEHOLDERS = ("kind", "maildir", "user", "folder", "name", "path", "flags")
_PLACEHOLDER = re.compile(r"\{(" + "|".join(PLACEHOLDERS) + r")\}")
_LIKE_A_PLACEHOLDER = re.compile(r"\{([A-Za-z_]+)\}")


Send = Callable[[Sequence[Fact]], None]


class Sender:
    """A thread that takes facts, some together, and sends them with a pause in between."""

    def __init__(self, send: Callable[[Sequence[Fact]], None], *, together: int, pause_s: float) -> None:
        """send: raises OSError or ValueError for what went wrong, with a text for people."""
        self._send = send
        self._together = together
        self._pause_s = pause_s
        self._queue: queue.Queue[Fact | None] = queue.Queue(WAITING)
        self._dropped = 0
        self._thread = threading.Thread(target=self._run, name="sender", daemon=True)
        self._thread.start()

    def add(self, fact: Fact) -> None:
        """Send a fact soon; drop it if too many wait already."""
        try:
            self._queue.put_nowait(fact)
        except queue.Full:
            if not self._dropped:
                click.echo("more changes than can be sent: some are dropped", err=True)
            self._dropped += 1

    def close(self) -> None:
        """Wait a while for what is to be sent."""
        deadline = time.monotonic() + _LAST_S
        try:
            self._queue.put(None, timeout=_LAST_S)
        except queue.Full:
            pass
        self._thread.join(max(deadline - time.monotonic(), 0))
        if self._dropped:
            click.echo(f"{self._dropped} changes were not sent", err=True)

    def _run(self) -> None:
        is_last = False
        while not is_last:
            first = self._queue.get()
            facts = [] if first is None else [first]
            is_last = first is None
            while not is_last and len(facts) < self._together and not self._queue.empty():
                following = self._queue.get()
                is_last = following is None
                facts += [] if following is None else [following]
            if facts:
                began = time.monotonic()
                try:
                    self._send(facts)
                except (OSError, ValueError, subprocess.SubprocessError) as exc:
                    click.echo(str(exc), err=True)
                if not is_last:
                    time.sleep(max(began + self._pause_s - time.monotonic(), 0))


def run_command(command: Sequence[str]) -> Callable[[Sequence[Fact]], None]:
    """Make a sender that starts a program, without a shell, and waits for its end."""

    def send(facts: Sequence[Fact]) -> None:
        for fact in facts:
            done = subprocess.run(
                filled_in(command, fact), stdin=subprocess.DEVNULL, timeout=6 * TIMEOUT_S, check=False
            )
            if done.returncode:
                raise ValueError(f"{command[0]} ended with {done.returncode}")

    return send


def filled_in(command: Sequence[str], fact: Fact) -> list[str]:
    """Put a fact's values in the place of {kind}, {path} and the others; each argument stays one."""
    return [_PLACEHOLDER.sub(lambda match: str(fact.get(match[1], "")), argument) for argument in command]


def parse_command(text: str) -> list[str]:
    """Read a command line whose program is there and whose placeholders are known. ValueError."""
    command = shlex.split(text)
    if not command or not command[0]:
        raise ValueError("a program is needed")
    if shutil.which(command[0]) is None:
        raise ValueError(f"{command[0]}: there is no such program, or it may not be run")
    for name in _LIKE_A_PLACEHOLDER.findall(text):
        if name not in PLACEHOLDERS:
            known = ", ".join(f"{{{each}}}" for each in PLACEHOLDERS)
            raise ValueError(f"{{{name}}} stands for nothing; there are {known}")
    return command


def post(url: str) -> Callable[[Sequence[Fact]], None]:
    """Make a sender that posts JSON, a list of facts, to a web address."""
    parts = urllib.parse.urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"{url}: an address such as https://push.example.org/mail is needed")
    if parts.port == 0 or not url.isascii() or not url.isprintable() or " " in url:  # port: ValueError, too
        raise ValueError(f"{url}: no web address: a port is 1 to 65535, and other characters are written %XX")

    def send(facts: Sequence[Fact]) -> None:
        headers = {"Content-Type": "application/json", "User-Agent": "lmtpd"}
        request = urllib.request.Request(url, json.dumps(list(facts)).encode(), headers, method="POST")  # noqa: S310 - checked above
        error: Exception | None = None
        for attempt in range(_TRIES):
            try:
                with urllib.request.urlopen(request, timeout=TIMEOUT_S):  # noqa: S310 - checked above
                    return
            except urllib.error.HTTPError as exc:
                error = exc
                exc.close()
                if exc.code < 500:
                    break  # it will not like it better the next time
            except OSError as exc:
                error = exc
            time.sleep(2**attempt / 2)
        raise ValueError(f"{url}: {error}: {len(facts)} changes are lost")

    return send
