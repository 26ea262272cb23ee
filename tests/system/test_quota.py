"""Quotas in the real server, two workers and all."""

import pytest

from tests.support import maildirs
from tests.support.polling import wait_for
from tests.support.postfix import public_folder
from tests.support.quotas import lines_of, make_maildir, put
from tests.support.server import Server

pytestmark = [pytest.mark.system, pytest.mark.slow]

CONFIG = """\
[quota]
default = "100000"
full = "reject"
warnings = ["80%", "95%"]
"""
BOB = "bob@example.org"


@pytest.fixture
def server():
    with public_folder("quota") as folder, Server(folder, config=CONFIG, create=False) as running:
        make_maildir(running.maildir(BOB))
        yield running


def deliver(server, octets, *, count=1):
    """Deliver from as many connections, so that both workers have to do; return the replies' codes."""
    codes = []
    for index in range(count):
        with server.client() as client:
            (reply,) = client.deliver(
                "a@example.org", [BOB], b"Subject: %d\r\n\r\n" % index + b"x" * octets + b"\r\n"
            )
            codes.append(reply.code)
    return codes


def told(server):
    return [
        line.removeprefix(b"Subject: ").decode()
        for path in maildirs.files(server.maildir(BOB))
        for line in path.read_bytes().splitlines()
        if line.startswith(b"Subject: Your mailbox")
    ]


def test_the_owner_is_told_once_by_whichever_worker_over_a_restart_and_of_room_again(server):
    old = put(server.maildir(BOB), 76_000)

    assert deliver(server, 800, count=6) == [250] * 6
    wait_for(lambda: told(server), "a warning", every_s=0.05)
    server.restart()
    assert deliver(server, 10, count=4) == [250] * 4
    old.unlink()  # as a mail reader that knows nothing of quotas does

    wait_for(lambda: len(told(server)) > 1, "word that there is room", every_s=0.05)
    room, warning = sorted(told(server))
    assert (room, warning[:17]) == ("Your mailbox has room again", "Your mailbox is 8")
    assert deliver(server, 50_000) == [250]


def test_what_is_stored_is_what_is_counted_and_what_is_too_much_is_refused(server):
    codes = deliver(server, 15_000, count=8)

    assert codes == [250] * 6 + [552] * 2
    wait_for(lambda: told(server), "a warning", every_s=0.05)
    stored = maildirs.files(server.maildir(BOB))
    octets = sum(path.stat().st_size for path in stored)
    counted = [list(map(int, line.split())) for line in lines_of(server.maildir(BOB))[1:]]
    assert [sum(column) for column in zip(*counted, strict=True)] == [octets, len(stored)]
