"""The table `[limits]`: what one client may ask for, and what keeps a site alive."""

from typing import Annotated

from lmtpd.config import values
from lmtpd.config.section import Section


class Limits(Section):
    """Limits. 0 switches off those from min_octets_per_s on; each worker counts for itself."""

    # Offered as SIZE; Postfix bounces what is larger, so it must not be below message_size_limit there.
    message_octets: Annotated[int, values.whole(1, 2**40)] = 104_857_600
    """The size of a message, offered as SIZE; above it 552 5.3.4."""
    # RFC 5321 4.5.3.1.8 wants at least 100; Postfix sends 50 at most by default.
    recipients: Annotated[int, values.whole(1, 100_000)] = 1000
    """Recipients in a transaction; above it 452 4.5.3, and Postfix sends the others in the next."""
    # RFC 5321 4.5.3.2.7 wants 5 minutes between commands.
    idle_s: Annotated[int, values.whole(1, 86_400)] = 300
    """Seconds of silence that end a connection, 421 4.4.2."""
    # In a row; then 421.  As Dovecot.
    bad_commands: Annotated[int, values.whole(1, 1000)] = 10
    """Bad commands in a row that end a connection, 421 4.7.0."""
    # Over idle_s at a time.  A modem of 1985 did as much: who is slower wants to hold a thread.
    min_octets_per_s: Annotated[int, values.whole(0, 1_000_000)] = 100
    """Octets a second of a message or command that has begun, over each `idle_s`; a slower client
    is cut off, 421 4.4.2.
    """
    # Threads in one mailbox when the first of them is slow.  As Dovecot; Postfix has 20 for a whole site.
    mailbox_concurrency: Annotated[int, values.whole(0, 100_000)] = 10
    """Threads at work in one mailbox from which on, if one of them is slow, no further one is sent
    after them: 451 4.2.1.
    """
    # A delivery that has to wait for a busy disk takes tenths of a second, one that hangs takes for ever.
    mailbox_slow_s: Annotated[int, values.whole(0, 600)] = 2
    """Seconds after which such a thread is slow."""
    # In a row, with nothing delivered in between: one bad sector is no reason to stop a site.
    file_system_faults: Annotated[int, values.whole(0, 100_000)] = 10
    """Faults of a file system in a row, with nothing delivered in between, after which it is left
    alone: 451 4.3.0 or 452 4.3.1.
    """
    # Postfix comes again after 300 s, so nothing is lost by a pause that is far shorter.
    file_system_pause_s: Annotated[int, values.whole(1, 3600)] = 30
    """Seconds that it is left alone; then a single recipient is tried."""
    # What must stay free: off, since what fits depends on the disk, and a full one is answered 452 anyway.
    free_octets: Annotated[int, values.whole(0, 2**60)] = 0
    """Octets that must stay free behind the message: 452 4.3.1."""
    free_percent: Annotated[int, values.whole(0, 99)] = 0
    """The same in percent of the file system."""
    free_inodes: Annotated[int, values.whole(0, 2**60)] = 0
    """The same in inodes, where the file system counts them."""
    # Off: what is usual differs from site to site.  A minute's worth comes through at once, then evenly.
    sender_recipients_per_minute: Annotated[int, values.whole(0, 1_000_000)] = 0
    """Recipients a minute from one envelope sender: 451 4.7.28. Bounces have no sender and are not
    limited.
    """
    client_recipients_per_minute: Annotated[int, values.whole(0, 1_000_000)] = 0
    """Recipients a minute from one client, the one that Postfix names or the TCP peer: 451 4.7.28."""
    domain_recipients_per_minute: Annotated[int, values.whole(0, 1_000_000)] = 0
    """Recipients a minute in one domain: 451 4.7.28."""
