"""How the real Postfix uses its connections: cached, parallel, for probes only, and when we fail it."""

from pathlib import Path

import pytest

from tests.support import maildirs
from tests.support.site import SENDER, SOCKET, bounce_in

pytestmark = [pytest.mark.system, pytest.mark.xdist_group("postfix")]


def subjects_in(maildir: Path) -> list[bytes]:
    """Return all subjects, sorted."""
    bodies = (stored.original for stored in maildirs.messages(maildir))
    return sorted(body.partition(b"Subject: ")[2].split(b"\n")[0] for body in bodies)


# ---- connections ----------------------------------------------------------------------------------


def test_cached_connection_carries_many_messages_and_ends_without_harm(site):
    maildir = site.mailbox("cached@example.org")
    log_before = len(site.postfix.log)

    for number in range(6):
        site.deliver(["cached@example.org"], b"Subject: message %d\r\n\r\n" % number)
    # The cache closes its connections without QUIT.
    site.postfix.set(lmtp_connection_cache_destinations="")
    site.deliver(["cached@example.org"], b"Subject: message 6\r\n\r\n")
    site.postfix.set(lmtp_connection_cache_destinations=SOCKET)

    assert "conn_use=" in site.postfix.log[log_before:], "Postfix never used a connection twice"
    assert subjects_in(maildir) == [b"message %d" % number for number in range(7)]


def test_burst_over_parallel_connections_arrives_once_each(site):
    maildir = site.mailbox("burst@example.org")
    for number in range(40):
        site.postfix.smtp(SENDER, ["burst@example.org"], b"Subject: burst %d\r\n\r\n" % number)

    site.postfix.wait_until_empty()

    assert subjects_in(maildir) == sorted(b"burst %d" % number for number in range(40))


# ---- address probes -------------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["rcpt", "data"])
def test_address_probe_delivers_nothing_and_alarms_nobody(site, target):
    probed = site.mailbox(f"probed-{target}@example.org")
    prober = site.mailbox("prober@example.org")
    for report in maildirs.files(prober):
        report.unlink()
    log_before = len(site.server.log)
    site.postfix.set(lmtp_address_verify_target=target)
    try:
        site.postfix.probe(f"probed-{target}@example.org", f"nobody-{target}@example.org")
        site.postfix.wait_until_empty()
    finally:
        site.postfix.set(lmtp_address_verify_target="rcpt")

    _, status = bounce_in(prober)
    assert "Action: deliverable" in status
    assert "Action: undeliverable" in status
    assert not maildirs.files(probed)
    assert not maildirs.leftovers(probed)
    log = site.server.log[log_before:].lower()
    assert "error" not in log
    assert "warning" not in log


def test_postfix_asks_us_who_exists_before_it_accepts_mail(site):
    maildir = site.mailbox("real@example.org")
    site.postfix.set(
        mynetworks="",
        smtpd_recipient_restrictions="reject_unverified_recipient",
        unverified_recipient_reject_code="550",
    )
    try:
        known = site.postfix.ask("real@example.org")
        unknown = site.postfix.ask("invented@example.org")
    finally:
        site.postfix.set(
            mynetworks="127.0.0.0/8",
            smtpd_recipient_restrictions="",
        )

    assert known[0] == 250
    assert unknown[0] == 550
    assert "said: 550 5.1.1 " in unknown[1]
    assert not maildirs.files(maildir)


# ---- faults ---------------------------------------------------------------------------------------


def test_mailbox_that_is_a_file_defers_its_mail_and_nobody_elses(site):
    broken = site.server.maildir("broken@example.org")
    broken.parent.mkdir(exist_ok=True)
    broken.write_text("not a Maildir")
    fine = site.mailbox("fine@example.org")

    queue_id = site.postfix.smtp(SENDER, ["broken@example.org", "fine@example.org"], b"Subject: x\r\n\r\n")
    site.postfix.wait_for_log(rf"{queue_id}: to=<broken@example\.org>.*dsn=4\..*status=deferred")
    broken.unlink()
    broken.mkdir()
    site.postfix.flush()
    site.postfix.wait_until_empty()

    assert len(maildirs.files(broken)) == 1
    assert len(maildirs.files(fine)) == 1


def test_mail_waits_while_the_server_is_down_and_arrives_once(site):
    maildir = site.mailbox("patient@example.org")
    assert site.server.stop() == 0

    queue_id = site.postfix.smtp(SENDER, ["patient@example.org"], b"Subject: later\r\n\r\n")
    site.postfix.wait_for_log(rf"{queue_id}: to=<patient@example\.org>.*status=deferred")
    site.server.start()
    site.postfix.flush()
    site.postfix.wait_until_empty()

    assert len(maildirs.files(maildir)) == 1
