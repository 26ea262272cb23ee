"""A folder as an IMAP client sees it: what no admin script may change behind its back."""

import imaplib
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tests.support.server import Server

_UID = re.compile(rb"UID ([0-9]+)")
_FLAGS = re.compile(rb"FLAGS \(([^)]*)\)")
_DATE = re.compile(rb'INTERNALDATE "([^"]*)"')


@dataclass(frozen=True, slots=True)
class Seen:
    """One message as it is told."""

    subject: str
    flags: frozenset[str]
    date: str
    content: bytes


def view(client: imaplib.IMAP4, folder: str = "INBOX") -> tuple[int, dict[int, Seen]]:
    """Return UIDVALIDITY, and the messages by UID; \\Recent, which is the session's, left out."""
    answer, _ = client.select(folder, readonly=True)
    assert answer == "OK", folder
    validity = client.response("UIDVALIDITY")[1][0]
    assert validity is not None
    messages = {}
    _, data = client.uid("FETCH", "1:*", "(UID FLAGS INTERNALDATE RFC822.SIZE BODY.PEEK[])")
    for part in data:
        if not isinstance(part, tuple):
            continue
        about, content = part
        subject = re.search(rb"(?mi)^subject: (.*?)\r?$", content)
        flags = _match(_FLAGS, about).decode().split()
        messages[int(_match(_UID, about))] = Seen(
            subject[1].decode() if subject else "",
            frozenset(flags) - {"\\Recent"},
            _match(_DATE, about).decode(),
            content,
        )
    return int(validity), messages


@contextmanager
def deliveries(server: Server, recipient: str) -> Iterator[list[str]]:
    """Deliver messages to the recipient all the time; the list has the subjects of those acknowledged."""
    subjects: list[str] = []
    stop = threading.Event()
    failures: list[BaseException] = []

    def deliver() -> None:
        try:
            with server.client() as client:
                while not stop.is_set():
                    subject = f"live {len(subjects)}"
                    body = b"Subject: %s\r\n\r\nlive\r\n" % subject.encode()
                    (reply,) = client.deliver("sender@example.org", [recipient], body)
                    assert reply.code == 250, reply
                    subjects.append(subject)
                client.quit()
        except BaseException as exc:  # noqa: BLE001 - raised in the test's own thread
            failures.append(exc)

    thread = threading.Thread(target=deliver)
    thread.start()
    try:
        yield subjects
    finally:
        stop.set()
        thread.join(20)
    if failures:
        raise failures[0]


def _match(pattern: re.Pattern[bytes], text: bytes) -> bytes:
    match = pattern.search(text)
    assert match, text
    return match[1]
