"""The table `[limits]`: what one client may ask for, and what keeps a site alive."""

from typing import Annotated

from lmtpd.config import values
from lmtpd.config.section import Section


class Limits(Section):
    """Limits. 0 switches off those from min_octets_per_s on; each worker counts for itself."""

    # Offered as SIZE; Postfix bounces what is larger, so it must not be below message_size_limit there.
    message_octets: Annotated[int, values.whole(1, 2**40)] = 104_857_600
    # RFC 5321 4.5.3.1.8 wants at least 100; Postfix sends 50 at most by default.
    recipients: Annotated[int, values.whole(1, 100_000)] = 1000
    # RFC 5321 4.5.3.2.7 wants 5 minutes between commands.
    idle_s: Annotated[int, values.whole(1, 86_400)] = 300
    # In a row; then 421.  As Dovecot.
    bad_commands: Annotated[int, values.whole(1, 1000)] = 10
    # Over idle_s at a time.  A modem of 1985 did as much: who is slower wants to hold a thread.
    min_octets_per_s: Annotated[int, values.whole(0, 1_000_000)] = 100
    # Threads in one mailbox when the first of them is slow.  As Dovecot; Postfix has 20 for a whole site.
    mailbox_concurrency: Annotated[int, values.whole(0, 100_000)] = 10
    # A delivery that has to wait for a busy disk takes tenths of a second, one that hangs takes for ever.
    mailbox_slow_s: Annotated[int, values.whole(0, 600)] = 2
    # In a row, with nothing delivered in between: one bad sector is no reason to stop a site.
    file_system_faults: Annotated[int, values.whole(0, 100_000)] = 10
    # Postfix comes again after 300 s, so nothing is lost by a pause that is far shorter.
    file_system_pause_s: Annotated[int, values.whole(1, 3600)] = 30
    # What must stay free: off, since what fits depends on the disk, and a full one is answered 452 anyway.
    free_octets: Annotated[int, values.whole(0, 2**60)] = 0
    free_percent: Annotated[int, values.whole(0, 99)] = 0
    free_inodes: Annotated[int, values.whole(0, 2**60)] = 0
    # Off: what is usual differs from site to site.  A minute's worth comes through at once, then evenly.
    sender_recipients_per_minute: Annotated[int, values.whole(0, 1_000_000)] = 0
    client_recipients_per_minute: Annotated[int, values.whole(0, 1_000_000)] = 0
    domain_recipients_per_minute: Annotated[int, values.whole(0, 1_000_000)] = 0
