"""A real Postfix that asks before it takes mail: a full mailbox and an unknown one are refused at RCPT."""

import pytest

from tests.support import maildirs
from tests.support.postfix import postfix, public_folder
from tests.support.quotas import make_maildir, put
from tests.support.requirements import need
from tests.support.server import Server

pytestmark = pytest.mark.system

CONFIG = """\
hostname = "mx.example.org"

[[listen]]
unix = "{queue}/private/lmtpd"
owner = "postfix"

[[policy]]
unix = "{queue}/private/lmtpd-policy"
owner = "postfix"

[[socketmap]]
unix = "{queue}/private/lmtpd-map"
owner = "postfix"

[quota]
default = "10000"
full = "{full}"
"""

BY_POLICY = {"smtpd_recipient_restrictions": "check_policy_service unix:private/lmtpd-policy"}
BY_MAPS = {
    "virtual_mailbox_maps": "socketmap:unix:private/lmtpd-map:mailbox",
    "smtpd_recipient_restrictions": "check_recipient_access socketmap:unix:private/lmtpd-map:access",
}


@pytest.fixture(scope="module", params=["defer", "reject"])
def full(request):
    return request.param


@pytest.fixture(scope="module")
def site(full):
    """Postfix with the server behind it, the mailboxes `full` (all but 100 octets), and `room`."""
    need("root", "postfix")
    with (
        postfix(virtual_transport="lmtp:unix:private/lmtpd", recipient_delimiter="+") as mta,
        public_folder("policy") as folder,
    ):
        server = Server(folder, config=CONFIG.format(queue=mta.queue, full=full), listen=(), create=False)
        del server.addresses[1:]  # only the first one greets
        with server:
            put(make_maildir(server.maildir("full@example.org")), 9_900)
            put(make_maildir(server.maildir("over@example.org")), 10_001)
            make_maildir(server.maildir("room@example.org"))
            yield mta, server


@pytest.fixture(params=[BY_POLICY, BY_MAPS], ids=["policy", "socketmap"])
def asking(site, request):
    mta, server = site
    mta.set(virtual_mailbox_maps="", smtpd_recipient_restrictions="")
    mta.set(**request.param)
    return mta, server


def test_full_and_unknown_mailboxes_are_refused_before_the_queue(asking, full):
    mta, _ = asking

    answers = {user: mta.ask(f"{user}@example.org") for user in ("over", "nobody", "room", "room+detail")}

    code, status = (452, "4.2.2") if full == "defer" else (552, "5.2.2")
    assert answers["over"][0] == code
    assert status in answers["over"][1]
    assert answers["nobody"][0] == 550
    assert "5.1.1" in answers["nobody"][1]
    assert (answers["room"][0], answers["room+detail"][0]) == (250, 250)


def test_the_announced_size_counts(site, full):
    mta, _ = site
    mta.set(virtual_mailbox_maps="", **BY_POLICY)

    small, large = (mta.ask("full@example.org", size=size)[0] for size in (100, 101))

    assert small == 250
    assert large == (452 if full == "defer" else 552)


def test_what_has_room_is_delivered(asking):
    mta, server = asking
    maildir = server.maildir("room@example.org")
    before = len(maildirs.files(maildir))

    mta.smtp("sender@example.org", ["room@example.org"], b"Subject: x\r\n\r\nx\r\n")
    mta.wait_until_empty()

    assert len(maildirs.files(maildir)) == before + 1


def test_with_the_server_down_postfix_defers(site):
    mta, _ = site
    mta.set(
        virtual_mailbox_maps="", smtpd_recipient_restrictions="check_policy_service { unix:private/none }"
    )

    assert mta.ask("room@example.org")[0] // 100 == 4
