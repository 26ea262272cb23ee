"""A mail site: the private Postfix with the server behind it, as the documentation tells to set them up."""

import email
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from email import policy
from email.message import EmailMessage
from pathlib import Path

from tests.support import maildirs
from tests.support.postfix import Postfix, postfix, public_folder
from tests.support.requirements import need
from tests.support.server import Server

SENDER = "sender@example.org"

# The socket lies where Postfix's own do, as README tells.
SOCKET = "private/lmtpd"

CONFIG = """\
hostname = "mx.example.org"

[[listen]]
unix = "{socket}"
owner = "postfix"
group = "postfix"
mode = "0660"
"""

MAIN_CF = {
    "virtual_transport": f"lmtp:unix:{SOCKET}",
    "recipient_delimiter": "+",
    "lmtp_line_length_limit": "0",
    "lmtp_destination_concurrency_limit": "50",
    "lmtp_connection_cache_destinations": SOCKET,
    "lmtp_send_xforward_command": "yes",
}


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
def running_site(main_cf: Mapping[str, str] = MAIN_CF, config: str = CONFIG) -> Iterator[Site]:
    """Run both; only mailboxes made by `Site.mailbox` exist.

    config: {socket}, {port} and {etc} stand for our socket, Postfix's SMTP port and its configuration.
    """
    need("root", "postfix")
    with postfix(**main_cf) as mta, public_folder("server") as folder:
        config = config.format(socket=mta.queue / SOCKET, port=mta.port, etc=mta.config)
        with Server(folder, config=config, listen=(), create=False) as server:
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
