"""One user's mailbox: mail comes by LMTP, and an IMAP client stays logged in while scripts work."""

from tests.support.dovecot import Dovecot
from tests.support.imap_view import Seen, view
from tests.support.server import Server


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
