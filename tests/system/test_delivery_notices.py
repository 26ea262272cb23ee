"""Delivery notices and the original recipient, with the real Postfix at both ends."""

import email
from collections.abc import Iterator
from email import policy
from email.message import EmailMessage
from pathlib import Path

import pytest

from tests.support import maildirs
from tests.support.polling import wait_for
from tests.support.site import CONFIG, Site, running_site

pytestmark = [pytest.mark.system, pytest.mark.xdist_group("notices")]

MESSAGE = b"Subject: a question\r\nFrom: <asker@example.org>\r\nMessage-ID: <1@example.org>\r\n\r\nhello\r\n"
SUCCESS = ("NOTIFY=SUCCESS,FAILURE",)


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with running_site(config=CONFIG + '[submission]\nsmtp = "127.0.0.1:{port}"\n') as running:
        yield running


@pytest.fixture(scope="module")
def plain() -> Iterator[Site]:
    with running_site() as running:
        yield running


def notices_in(maildir: Path) -> list[EmailMessage]:
    found = []
    for stored in maildirs.messages(maildir):
        message = email.message_from_bytes(stored.original, policy=policy.default)
        assert isinstance(message, EmailMessage)
        found.append(message)
    return found


def blocks_of(notice: EmailMessage) -> list[dict[str, str]]:
    """Return the machine-readable part: the message's fields, then each recipient's."""
    status = next(part for part in notice.walk() if part.get_content_type() == "message/delivery-status")
    return [dict(block.items()) for block in status.get_payload()]  # type: ignore[union-attr]  # a list of messages


def send(site: Site, sender: str, recipients: list[str], *, mail=(), rcpt=()) -> str:
    queue_id = site.postfix.smtp(sender, recipients, MESSAGE, mail=mail, rcpt=rcpt)
    site.postfix.wait_until_empty()
    return queue_id


def wait_for_notice(site: Site, sender: str) -> EmailMessage:
    """Return the one notice that came, when everything has been delivered."""
    maildir = site.server.maildir(sender)
    wait_for(lambda: maildirs.files(maildir), "a notice", deadline_s=15)
    site.postfix.wait_until_empty()
    (notice,) = notices_in(maildir)
    return notice


def test_success_is_told_once_and_correctly(site):
    site.mailbox("asker@example.org")
    site.mailbox("reader@example.org")

    send(site, "asker@example.org", ["reader@example.org"], mail=["ENVID=env+2B1", "RET=FULL"], rcpt=SUCCESS)
    notice = wait_for_notice(site, "asker@example.org")

    assert notice.get_content_type() == "multipart/report"
    assert notice.get_param("report-type") == "delivery-status"
    assert notice["To"] == "asker@example.org"
    assert notice["From"] == "Mail Delivery System <MAILER-DAEMON@mx.example.org>"
    about, recipient = blocks_of(notice)
    assert about["Reporting-MTA"] == "dns; mx.example.org"
    assert about["Original-Envelope-Id"] == "env+1"
    assert recipient == {
        "Original-Recipient": "rfc822; reader@example.org",
        "Final-Recipient": "rfc822; reader@example.org",
        "Action": "delivered",
        "Status": "2.0.0",
    }
    _, _, returned = notice.iter_parts()
    assert returned.get_content_type() == "text/rfc822-headers"
    assert "Message-ID: <1@example.org>" in returned.get_content()
    assert "hello" not in notice.as_string()
    assert maildirs.only_message(site.server.maildir("asker@example.org")).return_path == "<>"
    assert len(maildirs.files(site.server.maildir("reader@example.org"))) == 1


def test_many_recipients_are_told_in_one_notice(site):
    recipients = [f"reader{number}@many.example.org" for number in range(5)]
    for address in ("many@example.org", *recipients):
        site.mailbox(address)

    send(site, "many@example.org", recipients, rcpt=SUCCESS)
    notice = wait_for_notice(site, "many@example.org")

    _, *told = blocks_of(notice)
    assert sorted(block["Final-Recipient"] for block in told) == [f"rfc822; {each}" for each in recipients]


@pytest.mark.parametrize("rcpt", [(), ("NOTIFY=NEVER",), ("NOTIFY=FAILURE",), ("NOTIFY=DELAY",)])
def test_who_does_not_ask_is_not_told(site, rcpt):
    name = rcpt[0].partition("=")[2].lower() if rcpt else "nothing"
    asker = site.mailbox(f"{name}@example.org")
    site.mailbox("reader@example.org")

    send(site, f"{name}@example.org", ["reader@example.org"], rcpt=rcpt)
    # A message behind it comes last: whatever the first had brought is there by then.
    site.deliver([f"{name}@example.org"], b"Subject: behind it\r\n\r\n")

    (only,) = notices_in(asker)
    assert only["Subject"] == "behind it"


def test_an_unknown_user_is_told_by_postfix_alone(site):
    site.mailbox("unlucky@example.org")
    site.mailbox("reader@example.org")

    send(site, "unlucky@example.org", ["nobody@mixed.example.org"], rcpt=SUCCESS)
    notice = wait_for_notice(site, "unlucky@example.org")

    assert notice["Subject"] == "Undelivered Mail Returned to Sender"
    assert blocks_of(notice)[1]["Action"] == "failed"


def test_never_means_that_not_even_a_failure_is_told(site):
    asker = site.mailbox("silent@example.org")
    site.mailbox("reader@example.org")

    send(site, "silent@example.org", ["nobody@mixed.example.org"], rcpt=["NOTIFY=NEVER"])
    site.deliver(["silent@example.org"], b"Subject: behind it\r\n\r\n")

    (only,) = notices_in(asker)
    assert only["Subject"] == "behind it"


def test_aliases_are_seen_in_the_mailbox(site):
    asker = site.mailbox("aliased@example.org")
    people = {f"alias{number}@alias.example": f"person{number}@example.org" for number in range(20)}
    for person in people.values():
        site.mailbox(person)
    table = ", ".join(f"{alias}={person}" for alias, person in people.items())
    site.postfix.set(virtual_alias_maps=f"inline:{{{table}}}")
    try:
        queue_id = send(site, "aliased@example.org", list(people), rcpt=SUCCESS)
    finally:
        site.postfix.set(virtual_alias_maps="")

    for alias, person in people.items():
        stored = maildirs.only_message(site.server.maildir(person))
        assert stored.delivered_to == person
        assert stored.original_to == alias
    assert len(site.postfix.deliveries(queue_id)) == 20
    # An alias is as far as the question goes: Postfix has answered it, and does not pass it on.
    (notice,) = notices_in(asker)
    assert {block["Action"] for block in blocks_of(notice)[1:]} == {"expanded"}


def test_an_international_sender_is_told_as_well(site):
    site.mailbox("jürgen@example.org")
    site.mailbox("reader@example.org")

    site.postfix.smtp("jürgen@example.org", ["reader@example.org"], MESSAGE, utf8=True, rcpt=SUCCESS)
    site.postfix.wait_until_empty()
    notice = wait_for_notice(site, "jürgen@example.org")

    assert notice["To"] == "jürgen@example.org"


def test_a_message_that_comes_round_is_refused(site):
    site.mailbox("looped@example.org")
    sender = site.mailbox("looper@example.org")

    queue_id = site.postfix.smtp(
        "looper@example.org", ["looped@example.org"], b"Delivered-To: looped@example.org\r\n" + MESSAGE
    )
    site.postfix.wait_until_empty()

    (delivery,) = site.postfix.deliveries(queue_id)
    assert "dsn=5.4.6, status=bounced" in delivery
    assert blocks_of(notices_in(sender)[0])[1]["Status"] == "5.4.6"
    assert not maildirs.files(site.server.maildir("looped@example.org"))


def test_without_submission_postfix_tells(plain):
    plain.mailbox("asker@example.org")
    reader = plain.mailbox("reader@example.org")

    send(plain, "asker@example.org", ["reader@example.org"], mail=["ENVID=env1"], rcpt=SUCCESS)
    notice = wait_for_notice(plain, "asker@example.org")

    about, told = blocks_of(notice)
    assert about["Reporting-MTA"] == "dns; postfix.example.org"
    assert told["Action"] == "relayed"
    assert maildirs.only_message(reader).original_to is None
    with plain.server.client() as client:
        assert "DSN" not in client.capabilities


def test_sendmail_is_another_way_out():
    with running_site(config=CONFIG + '[submission]\nsendmail = "{etc}/sendmail"\n') as site:
        site.mailbox("asker@example.org")
        site.mailbox("reader@example.org")

        send(site, "asker@example.org", ["reader@example.org"], rcpt=SUCCESS)

        assert blocks_of(wait_for_notice(site, "asker@example.org"))[1]["Action"] == "delivered"


def test_a_client_that_says_it_itself_is_heard(site):
    site.mailbox("direct@example.org")
    reader = site.mailbox("person@direct.example.org")
    with site.server.client() as client:
        assert "DSN" in client.capabilities
        for command in (
            "MAIL FROM:<direct@example.org> RET=HDRS ENVID=a+2Bb",
            "RCPT TO:<person@direct.example.org> NOTIFY=SUCCESS ORCPT=rfc822;role+2Bx@direct.example.org",
        ):
            assert client.command(command).code == 250
        client.command("DATA")
        client.send(b"Subject: x\r\n\r\n.\r\n")
        assert client.reply().code == 250

    about, told = blocks_of(wait_for_notice(site, "direct@example.org"))
    assert about["Original-Envelope-Id"] == "a+b"
    assert told["Original-Recipient"] == "rfc822; role+x@direct.example.org"
    assert told["Final-Recipient"] == "rfc822; person@direct.example.org"
    assert maildirs.only_message(reader).original_to == "role+x@direct.example.org"
