"""The policy service and the socketmaps, asked over real sockets of a real server."""

import socket

import pytest

from lmtpd.delivery.admission import Floor, Rates
from lmtpd.delivery.rates import Buckets
from lmtpd.protocol import replies
from lmtpd.server.lookups import PolicyDialogue, SocketmapDialogue
from tests.support.admissions import limited
from tests.support.polling import wait_for
from tests.support.postfix import public_folder
from tests.support.quotas import make_maildir, put
from tests.support.server import Server
from tests.support.services import KeptReports, make_service, quota_rules

CONFIG = """\
[[policy]]
unix = "{folder}/policy"

[[socketmap]]
unix = "{folder}/map"

[quota]
default = "1000"
"""


def policy(recipient: str, size: int = 0) -> bytes:
    return (
        f"request=smtpd_access_policy\nprotocol_state=RCPT\nrecipient={recipient}\nsize={size}\n\n".encode()
    )


def lookup(text: str) -> bytes:
    octets = text.encode()
    return b"%d:%b," % (len(octets), octets)


@pytest.fixture
def service(tmp_path):
    put(make_maildir(tmp_path / "mail/example.org/a"), 900)
    put(make_maildir(tmp_path / "mail/example.org/full"), 1001)
    make_maildir(tmp_path / "mail/example.org/with space")
    return make_service(tmp_path, quota=quota_rules("1000"), create=False)


POLICY = [
    ("a@example.org", 0, "DUNNO"),
    ("A@Example.ORG", 100, "DUNNO"),
    ("a+detail@example.org", 0, "DUNNO"),
    ("a@example.org", 101, "452 4.2.2 Mailbox full"),
    ("full@example.org", 0, "452 4.2.2 Mailbox full"),
    ("nobody@example.org", 0, "550 5.1.1 No such mailbox"),
    ("with space@example.org", 0, "DUNNO"),
    ("../etc@example.org", 0, "550 5.1.1 No such mailbox"),
    ("bad\x01@example.org", 0, "550 5.1.1 No such mailbox"),
    ("postmaster", 0, "550 5.1.1 No such mailbox"),
]


@pytest.mark.parametrize("recipient, size, action", POLICY)
def test_the_policy_service_answers_as_rcpt_does(service, recipient, size, action):
    assert list(PolicyDialogue(service).answers(policy(recipient, size))) == [f"action={action}\n\n".encode()]


def test_a_question_about_no_recipient_has_no_answer(service):
    request = b"request=smtpd_access_policy\nprotocol_state=DATA\nrecipient=\n\n"

    assert list(PolicyDialogue(service).answers(request)) == [b"action=DUNNO\n\n"]


def test_what_is_refused_here_is_in_the_log(service):
    list(PolicyDialogue(service).answers(policy("full@example.org") + policy("a@example.org")))

    assert isinstance(service.reporter, KeptReports)
    (report,) = service.reporter.reports
    assert (report.recipient, report.outcome, report.cause, report.client) == (
        "full@example.org",
        "deferred",
        "quota",
        "policy",
    )


@pytest.mark.parametrize(
    "request_, result",
    [
        ("mailbox a@example.org", b"OK a@example.org"),
        ("mailbox full@example.org", b"OK full@example.org"),
        ("mailbox nobody@example.org", b"NOTFOUND "),
        ("mailbox @example.org", b"NOTFOUND "),
        ("mailbox example.org", b"NOTFOUND "),
        ("mailbox a@", b"NOTFOUND "),
        ("access a@example.org", b"NOTFOUND "),
        ("access full@example.org", b"OK 452 4.2.2 Mailbox full"),
        ("access nobody@example.org", b"OK 550 5.1.1 No such mailbox"),
        ("access example.org", b"NOTFOUND "),
        ("aliases a@example.org", b"PERM the maps here are mailbox and access"),
        ("mailbox", b"NOTFOUND "),
    ],
)
def test_socketmaps_tell_who_exists_and_what_rcpt_is_answered(service, request_, result):
    (answer,) = SocketmapDialogue(service).answers(lookup(request_))

    assert answer == b"%d:%b," % (len(result), result)


def test_what_cannot_be_looked_up_is_temporary(tmp_path):
    service = make_service(tmp_path, create=False)
    (tmp_path / "mail").rmdir()

    (action,) = PolicyDialogue(service).answers(policy("a@example.org"))
    (mailbox, access) = SocketmapDialogue(service).answers(
        lookup("mailbox a@example.org") + lookup("access a@example.org")
    )

    assert action == b"action=451 4.3.0 Recipient cannot be looked up now\n\n"
    assert b":TEMP Recipient" in mailbox
    assert b":OK 451 4.3.0 Recipient" in access


def test_a_bug_is_temporary_and_told(service):
    def broken(address):
        raise ZeroDivisionError

    service.directory.find = broken

    (action,) = PolicyDialogue(service).answers(policy("a@example.org"))

    assert action.startswith(b"action=451 ")
    assert [type(bug) for bug in service.reporter.bugs] == [ZeroDivisionError]


def test_what_stands_against_a_recipient_for_now_is_told_too_and_asking_uses_up_no_rate(tmp_path):
    put(make_maildir(tmp_path / "mail/example.org/a"), 10)
    full = limited(tmp_path, floor=Floor(2**60, 0, 0))
    rated = limited(tmp_path, rates=Rates(domain=Buckets(1)))

    (action,) = PolicyDialogue(full).answers(policy("a@example.org"))
    actions = list(PolicyDialogue(rated).answers(policy("a@example.org") * 3))

    assert action == b"action=452 4.3.1 Insufficient system storage\n\n"
    assert actions == [b"action=DUNNO\n\n"] * 3


# ---- the real server


@pytest.fixture(scope="module")
def server():
    with public_folder("lookups") as folder, Server(folder, config=CONFIG.format(folder=folder)) as running:
        put(make_maildir(running.maildir("full@example.org")), 1001)
        make_maildir(running.maildir("a@example.org"))
        yield running


def connect(server: Server, name: str) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(20)
    connection.connect(str(server.folder / name))
    return connection


@pytest.mark.system
def test_each_is_served_on_its_own_socket(server):
    with connect(server, "policy") as asking, connect(server, "map") as mapping:
        for _ in range(2):  # a connection is used again
            asking.sendall(policy("full@example.org"))
            assert asking.recv(200) == b"action=452 4.2.2 Mailbox full\n\n"
            mapping.sendall(lookup("access full@example.org"))
            assert mapping.recv(200) == b"25:OK 452 4.2.2 Mailbox full,"
    with server.client() as client:
        assert client.envelope("me@example.org", ["full@example.org"])[0].code == 452


@pytest.mark.system
def test_who_speaks_something_else_is_cut_off_and_nobody_else(server):
    with connect(server, "policy") as asking:
        asking.sendall(b"LHLO x\r\n\n\n")
        assert asking.recv(200) == b""
    wait_for(lambda: "question_not_understood" in server.log, "a line in the log")

    with connect(server, "policy") as asking:
        asking.sendall(policy("a@example.org"))
        assert asking.recv(200) == b"action=DUNNO\n\n"


@pytest.mark.system
def test_a_drain_ends_idle_connections(tmp_path):
    with public_folder("drain") as folder:
        with Server(folder, config=CONFIG.format(folder=folder)) as server:
            asking = connect(server, "policy")
            asking.sendall(policy("a@example.org"))
            assert asking.recv(200) == b"action=DUNNO\n\n"
        with asking:
            assert asking.recv(200) == b""


def test_every_reply_to_rcpt_is_an_action_that_postfix_knows():
    for reply in (
        replies.MAILBOX_FULL,
        replies.QUOTA_EXCEEDED,
        replies.MAILBOX_UNKNOWN,
        replies.LOOKUP_FAILED,
    ):
        assert reply.code // 100 in (4, 5)
        assert reply.status
