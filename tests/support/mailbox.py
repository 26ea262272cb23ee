"""One user's mailbox: mail comes by LMTP, and an IMAP client stays logged in while scripts work."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from tests.support.dovecot import OWNER, Dovecot
from tests.support.imap_view import Seen, view
from tests.support.postfix import public_folder
from tests.support.requirements import need
from tests.support.server import Server


@contextmanager
def server_of_owner(purpose: str, config: str) -> Iterator[Server]:
    """A server whose Maildirs belong to the user as whom Dovecot reads them."""
    need("root", "dovecot")
    with public_folder(purpose) as folder:
        for path in (folder / "mail", folder / "state"):
            path.mkdir()
            shutil.chown(path, OWNER, OWNER)
        with Server(folder, config=config) as server:
            yield server


class Mailbox:
    """The mailbox of user@example.org."""

    def __init__(self, server: Server, reader: Dovecot, user: str) -> None:
        self.server = server
        self.address = f"{user}@example.org"
        self.maildir = server.maildir(self.address)
        self.client = reader.imap(self.address)

    def deliver(self, *bodies: bytes) -> None:
        """Send messages, which must be accepted."""
        with self.server.client() as client:
            for body in bodies:
                (reply,) = client.deliver("sender@example.org", [self.address], body)
                assert reply.code == 250
            client.quit()

    def store(self, uid: int, flags: str) -> None:
        """Mark a message of the INBOX as a mail reader does."""
        self.client.select("INBOX")
        self.client.uid("STORE", str(uid), "+FLAGS", flags)

    def view(self, folder: str = "INBOX") -> tuple[int, dict[int, Seen]]:
        """Return UIDVALIDITY, and the messages by UID."""
        return view(self.client, folder)


def old(messages: dict[int, Seen]) -> dict[int, Seen]:
    """Return those whose subject begins with "old": they were there before the script."""
    return {uid: seen for uid, seen in messages.items() if seen.subject.startswith("old")}


def subjects(messages: dict[int, Seen], start: str = "") -> list[str]:
    """Return the subjects that begin so, in order."""
    return sorted(seen.subject for seen in messages.values() if seen.subject.startswith(start))
