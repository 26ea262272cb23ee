"""The real Postfix delivers through the unix socket: what an administrator's first day looks like."""

import email
import hashlib
import random
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from email import policy
from email.message import EmailMessage
from pathlib import Path

import pytest

from tests.support import maildirs
from tests.support.polling import wait_for
from tests.support.postfix import Postfix, postfix, public_folder
from tests.support.requirements import CORPUS, need
from tests.support.server import Server

pytestmark = [pytest.mark.system, pytest.mark.xdist_group("postfix")]

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


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    need("root", "postfix")
    with ExitStack() as stack:
        folder = stack.enter_context(public_folder("server"))
        config = CONFIG.format(folder=folder)
        server = stack.enter_context(Server(folder, config=config, listen=(), create=False))
        socket = server.addresses[0]
        mta = stack.enter_context(postfix(f"lmtp:{socket}"))
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


# ---- one message, one recipient ---------------------------------------------------------------------


def test_message_arrives_with_our_headers_on_top(site):
    maildir = site.mailbox("one@example.org")

    queue_id = site.deliver(["one@example.org"], b"Subject: one\r\n\r\nhello\r\n.dot\r\n")

    stored = maildirs.only_message(maildir)
    assert stored.return_path == f"<{SENDER}>"
    assert stored.delivered_to == "one@example.org"
    assert "by mx.example.org" in stored.received
    assert " with LMTP id " in stored.received
    assert stored.original.startswith(b"Received: from client.example.org")
    assert b"Subject: one\n" in stored.original
    assert body_of(stored.original) == b"hello\n.dot\n"
    assert stored.path.parent.name == "new"
    assert not maildirs.leftovers(maildir)
    (delivery,) = site.postfix.deliveries(queue_id)
    assert "dsn=2.0.0, status=sent (250 2.0.0 <one@example.org> " in delivery


def test_our_log_carries_the_queue_id_of_postfix(site):
    site.mailbox("traced@example.org")

    queue_id = site.deliver(["traced@example.org"], b"Subject: find me\r\n\r\n")

    wait_for(lambda: queue_id in site.server.log, "Postfix's queue id in our log", deadline_s=5)
    (line,) = [line for line in site.server.log.splitlines() if queue_id in line]
    assert "traced@example.org" in line


def test_queue_id_comes_by_xforward_when_postfix_is_told_to_send_it(site):
    site.mailbox("forwarded@example.org")
    # Without Received lines the queue id can only have come by XFORWARD.
    site.postfix.set(
        lmtp_send_xforward_command="yes",
        header_checks="regexp:{{/^Received:/ IGNORE}}",
        enable_long_queue_ids="yes",
    )
    try:
        queue_id = site.deliver(["forwarded@example.org"], b"Subject: find me\r\n\r\n")
    finally:
        site.postfix.set(lmtp_send_xforward_command="no", header_checks="", enable_long_queue_ids="no")

    stored = maildirs.only_message(site.server.maildir("forwarded@example.org"))
    assert b"Received:" not in stored.original
    wait_for(lambda: queue_id in site.server.log, "Postfix's queue id in our log", deadline_s=5)


def test_null_sender_is_an_empty_return_path(site):
    maildir = site.mailbox("null@example.org")

    site.deliver(["null@example.org"], b"Subject: a report\r\n\r\n", sender="")

    assert maildirs.only_message(maildir).return_path == "<>"


def test_quoted_local_part_is_the_unquoted_mailbox(site):
    maildir = site.mailbox("with space@example.org")

    site.deliver(['"with space"@example.org'], b"Subject: quoted\r\n\r\n")

    assert maildirs.only_message(maildir).delivered_to == '"with space"@example.org'


def test_sendmail_on_the_machine_reaches_the_mailbox(site):
    maildir = site.mailbox("local@example.org")

    site.postfix.sendmail("cron@example.org", ["local@example.org"], b"Subject: cron\n\n.\nstill here\n")
    site.postfix.wait_until_empty()

    assert body_of(maildirs.only_message(maildir).original) == b".\nstill here\n"


# ---- contents ---------------------------------------------------------------------------------------


def test_eight_bit_body_is_not_re_encoded(site):
    maildir = site.mailbox("eight@example.org")
    body = bytes(octet for octet in range(256) if octet not in b"\0\r\n") + b"\r\n"

    site.deliver(
        ["eight@example.org"], b"MIME-Version: 1.0\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" + body
    )

    assert body_of(maildirs.only_message(maildir).original) == body.replace(b"\r\n", b"\n")


def test_international_addresses_and_headers(site):
    maildir = site.mailbox("jürgen@xn--bcher-kva.example")
    message = "Subject: grüße\r\nFrom: <absenderin@bücher.example>\r\n\r\nschöne Grüße\r\n".encode()

    site.postfix.smtp("absenderin@bücher.example", ["jürgen@bücher.example"], message, utf8=True)
    site.postfix.wait_until_empty()

    stored = maildirs.only_message(maildir)
    assert "Subject: grüße\n".encode() in stored.original
    assert body_of(stored.original) == "schöne Grüße\n".encode()
    assert "UTF8LMTP" in stored.received  # RFC 6531 3.7.3


def test_twenty_megabytes_arrive_whole(site):
    maildir = site.mailbox("big@example.org")
    line = b"%s\r\n" % random.Random(20).randbytes(38).hex().encode()
    body = line * (20 * 1024 * 1024 // len(line) + 1)

    site.deliver(["big@example.org"], b"Subject: big\r\n\r\n" + body)

    stored = body_of(maildirs.only_message(maildir).original)
    assert len(stored) > 20_000_000
    assert hashlib.sha256(stored).digest() == hashlib.sha256(body.replace(b"\r\n", b"\n")).digest()


def test_lines_longer_than_postfix_likes_arrive_unbroken(site):
    maildir = site.mailbox("long@example.org")
    body = b"x" * 100_000 + b"\r\n." + b"y" * 5_000 + b"\r\n"

    site.deliver(["long@example.org"], b"Subject: long\r\n\r\n" + body)

    assert body_of(maildirs.only_message(maildir).original) == body.replace(b"\r\n", b"\n")


# ---- many recipients, one status each ---------------------------------------------------------------


def test_fifty_recipients_get_one_copy_and_one_status_each(site):
    recipients = [f"r{number}@fifty.example.org" for number in range(50)]
    for recipient in recipients:
        site.mailbox(recipient)

    queue_id = site.deliver(recipients, b"Subject: fifty\r\n\r\nto all\r\n")

    deliveries = site.postfix.deliveries(queue_id)
    assert len(deliveries) == 50
    for recipient in recipients:
        (status,) = [line for line in deliveries if line.startswith(f"to=<{recipient}>,")]
        assert f"status=sent (250 2.0.0 <{recipient}> " in status
        assert maildirs.only_message(site.server.maildir(recipient)).delivered_to == recipient


def test_unknown_user_is_bounced_with_our_text_and_the_others_get_their_mail(site):
    recipients = ["first@mixed.example.org", "nobody@mixed.example.org", "last@mixed.example.org"]
    for known in (recipients[0], recipients[2], "complainant@example.org"):
        site.mailbox(known)

    queue_id = site.deliver(recipients, b"Subject: three\r\n\r\n", sender="complainant@example.org")

    for known in (recipients[0], recipients[2]):
        assert len(maildirs.files(site.server.maildir(known))) == 1
    assert not site.server.maildir(recipients[1]).exists()
    assert sorted(line.split("status=")[1].split()[0] for line in site.postfix.deliveries(queue_id)) == [
        "bounced",
        "sent",
        "sent",
    ]
    bounce, status = bounce_in(site.server.maildir("complainant@example.org"))
    assert bounce["Subject"] == "Undelivered Mail Returned to Sender"
    assert "Final-Recipient: rfc822; nobody@mixed.example.org" in status
    assert "Status: 5.1.1" in status
    assert "550 5.1.1 " in status


def test_transaction_with_unknown_users_only_is_bounced_and_the_connection_stays_in_step(site):
    sender = site.mailbox("lonely@example.org")
    known = site.mailbox("known@example.org")

    site.deliver(
        ["no1@nowhere.example", "no2@nowhere.example"], b"Subject: x\r\n\r\n", sender="lonely@example.org"
    )
    site.deliver(["known@example.org"], b"Subject: y\r\n\r\n")

    _, status = bounce_in(sender)
    assert status.count("Status: 5.1.1") == 2
    assert len(maildirs.files(known)) == 1


def test_same_recipient_twice_is_one_copy(site):
    maildir = site.mailbox("twice@example.org")

    # Postfix itself removes equal recipients; these two become equal only in our eyes.
    queue_id = site.deliver(["twice@example.org", "TWICE@example.org"], b"Subject: x\r\n\r\n")

    assert len(site.postfix.deliveries(queue_id)) == 2
    assert len(maildirs.files(maildir)) in (1, 2)


# ---- user+detail ------------------------------------------------------------------------------------


def test_detail_goes_to_the_folder_of_that_name_if_there_is_one(site):
    maildir = site.mailbox("sorter@example.org")
    (maildir / ".lists").mkdir()

    site.deliver(["sorter+lists@example.org"], b"Subject: to the folder\r\n\r\n")
    site.deliver(["sorter+missing@example.org"], b"Subject: to the inbox\r\n\r\n")

    in_folder = maildirs.only_message(maildir / ".lists")
    assert in_folder.delivered_to == "sorter+lists@example.org"
    assert b"Subject: to the folder\n" in in_folder.original
    assert b"Subject: to the inbox\n" in maildirs.only_message(maildir).original
    assert not (maildir / ".missing").exists()


# ---- connections ------------------------------------------------------------------------------------


def test_cached_connection_carries_many_messages_and_ends_without_harm(site):
    maildir = site.mailbox("cached@example.org")
    log_before = len(site.postfix.log)
    site.postfix.set(
        lmtp_connection_cache_destinations=site.server.addresses[0].removeprefix("unix:"),
        # One process, so that the next message finds the cached connection.
        lmtp_destination_concurrency_limit="1",
    )
    try:
        for number in range(6):
            site.deliver(["cached@example.org"], b"Subject: message %d\r\n\r\n" % number)
    finally:
        site.postfix.set(lmtp_connection_cache_destinations="", lmtp_destination_concurrency_limit="20")

    assert "conn_use=" in site.postfix.log[log_before:], "Postfix never used a connection twice"
    subjects = [f"Subject: message {number}\n".encode() for number in range(6)]
    assert [
        subject for subject in subjects for stored in maildirs.messages(maildir) if subject in stored.original
    ] == subjects


def test_burst_over_parallel_connections_arrives_once_each(site):
    maildir = site.mailbox("burst@example.org")
    for number in range(40):
        site.postfix.smtp(SENDER, ["burst@example.org"], b"Subject: burst %d\r\n\r\n" % number)

    site.postfix.wait_until_empty()

    subjects = [
        stored.original.partition(b"Subject: ")[2].split(b"\n")[0] for stored in maildirs.messages(maildir)
    ]
    assert sorted(subjects) == sorted(b"burst %d" % number for number in range(40))


# ---- address probes ---------------------------------------------------------------------------------


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


# ---- faults -----------------------------------------------------------------------------------------


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


# ---- real mail --------------------------------------------------------------------------------------


def test_corpus_arrives_byte_for_byte(site):
    need("corpus")
    corpus = sorted(CORPUS.glob("*.eml"))
    # Held back at first, so that what Postfix made of each message (its Received line, missing headers added,
    # stray CR replaced) can be read from its queue: those bytes, and the body of the file, must arrive.
    site.postfix.set(defer_transports="lmtp")
    try:
        queue_ids = {}
        for number, path in enumerate(corpus):
            recipient = f"m{number}@corpus.example.org"
            site.mailbox(recipient)
            message = path.read_bytes().replace(b"\n", b"\r\n")
            queue_ids[recipient] = site.postfix.smtp(SENDER, [recipient], message)
        site.postfix.wait_until_deferred(len(corpus))
        queued = {recipient: site.postfix.content(queue_ids[recipient]) for recipient in queue_ids}
    finally:
        site.postfix.set(defer_transports="")
    site.postfix.flush()
    site.postfix.wait_until_empty()

    for path, (recipient, content) in zip(corpus, queued.items(), strict=True):
        stored = maildirs.only_message(site.server.maildir(recipient))
        assert stored.original == content, path.name
        assert body_of(stored.original) == body_of(path.read_bytes()), path.name
