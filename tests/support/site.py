"""A mail site: the private Postfix with the server behind it, as the documentation tells to set them up."""

import email
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from email import policy
from email.message import EmailMessage
from pathlib import Path

from tests.support import maildirs
from tests.support.postfix import Postfix, postfix, public_folder
from tests.support.requirements import need
from tests.support.server import Server

SENDER = "sender@example.org"

CONFIG = """\
hostname = "mx.example.org"

[[listen]]
unix = "{folder}/lmtpd.sock"
owner = "postfix"
group = "postfix"
mode = "0660"
"""


class Site:
    """A Postfix, our server behind it, and the mailboxes that exist."""

    def __init__(self, mta: Postfix, server: Server) -> None:
        self.postfix = mta
        self.server = server

    def mailbox(self, address: str) -> Path:
        """Make a mailbox for the address: a directory is all it takes."""
        path = self.server.maildir(address)
        path.mkdir(parents=True, exist_ok=True)
        return path

    def deliver(self, recipients: Sequence[str], message: bytes, *, sender: str = SENDER) -> str:
        """Send a message through Postfix; return its queue id once the queue is empty."""
        queue_id = self.postfix.smtp(sender, recipients, message)
        self.postfix.wait_until_empty()
        return queue_id


@contextmanager
def running_site() -> Iterator[Site]:
    """Run both; only mailboxes made by `Site.mailbox` exist."""
    need("root", "postfix")
    with ExitStack() as stack:
        folder = stack.enter_context(public_folder("server"))
        config = CONFIG.format(folder=folder)
        server = stack.enter_context(Server(folder, config=config, listen=(), create=False))
        mta = stack.enter_context(postfix(f"lmtp:{server.addresses[0]}"))
        yield Site(mta, server)


def body_of(data: bytes) -> bytes:
    """Return what follows the header."""
    return data.partition(b"\n\n")[2]


def bounce_in(maildir: Path) -> tuple[EmailMessage, str]:
    """Return the one delivery report that is there, and its machine-readable part."""
    report = email.message_from_bytes(maildirs.only_message(maildir).original, policy=policy.default)
    assert isinstance(report, EmailMessage)
    status = next(part for part in report.walk() if part.get_content_type() == "message/delivery-status")
    return report, status.as_string()
