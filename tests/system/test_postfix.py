"""The real Postfix delivers through the unix socket: addresses, contents, one status per recipient."""

import hashlib
import random

import pytest

from tests.support import maildirs
from tests.support.polling import wait_for
from tests.support.site import SENDER, body_of, bounce_in

pytestmark = [pytest.mark.system, pytest.mark.xdist_group("postfix")]


# ---- one message, one recipient -------------------------------------------------------------------


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


@pytest.mark.parametrize("xforward", ["yes", "no"])
def test_our_log_carries_the_queue_id_of_postfix(site, xforward):
    site.mailbox(f"traced-{xforward}@example.org")
    site.postfix.set(lmtp_send_xforward_command=xforward)
    try:
        queue_id = site.deliver([f"traced-{xforward}@example.org"], b"Subject: find me\r\n\r\n")
    finally:
        site.postfix.set(lmtp_send_xforward_command="yes")

    wait_for(lambda: queue_id in site.server.log, "Postfix's queue id in our log")
    (line,) = [line for line in site.server.log.splitlines() if queue_id in line]
    assert f"traced-{xforward}@example.org" in line


def test_queue_id_by_xforward_alone_is_enough(site):
    maildir = site.mailbox("forwarded@example.org")
    # Without Received lines the queue id can only have come by XFORWARD.
    site.postfix.set(header_checks="regexp:{{/^Received:/ IGNORE}}")
    try:
        queue_id = site.deliver(["forwarded@example.org"], b"Subject: find me\r\n\r\n")
    finally:
        site.postfix.set(header_checks="")

    assert b"Received:" not in maildirs.only_message(maildir).original
    wait_for(lambda: queue_id in site.server.log, "Postfix's queue id in our log")


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


# ---- contents -------------------------------------------------------------------------------------


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


# ---- many recipients, one status each -------------------------------------------------------------


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


def test_two_aliases_of_one_mailbox_are_one_copy_and_a_status_each(site):
    maildir = site.mailbox("target@example.org")
    # Postfix leaves duplicates alone that come from different original recipients, so we get RCPT twice.
    site.postfix.set(
        virtual_alias_maps="inline:{a@alias.example=target@example.org, b@alias.example=target@example.org}"
    )
    try:
        queue_id = site.deliver(["a@alias.example", "b@alias.example"], b"Subject: x\r\n\r\n")
    finally:
        site.postfix.set(virtual_alias_maps="")

    deliveries = site.postfix.deliveries(queue_id)
    assert len(deliveries) == 2
    assert all("status=sent (250 2.0.0 <target@example.org> " in line for line in deliveries)
    assert len(maildirs.files(maildir)) == 1


# ---- user+detail ----------------------------------------------------------------------------------


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
