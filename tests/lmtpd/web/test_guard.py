import asyncio

import pytest

from lmtpd.web.guard import POLICY, answer, guarded

HOSTS = {"127.0.0.1:9825", "localhost:9825"}


async def application(scope, receive, send):
    await answer(send, b"fine")


def ask(*, method="GET", host=(b"localhost:9825",), hosts=HOSTS):
    sent = []

    async def send(event):
        sent.append(event)

    scope = {"type": "http", "method": method, "headers": [(b"host", name) for name in host]}

    async def receive():
        raise AssertionError("nothing is to be received")

    async def talk():
        await guarded(application, hosts)(scope, receive, send)

    asyncio.run(talk())
    return sent[0]["status"], dict(sent[0]["headers"])


@pytest.mark.parametrize("host", [(b"localhost:9825",), (b"LOCALHOST:9825",), (b"127.0.0.1:9825",)])
def test_own_names_are_answered_with_the_policy(host):
    status, headers = ask(host=host)

    assert (status, headers[b"content-security-policy"]) == (200, POLICY)
    assert b"unsafe" not in POLICY


@pytest.mark.parametrize(
    "host",
    [(), (b"evil.example",), (b"evil.example:9825",), (b"localhost",), (b"localhost:9825", b"evil.example")],
)
def test_names_that_another_site_could_point_here_are_not_answered(host):
    status, headers = ask(host=host)

    assert status == 421
    assert b"content-security-policy" in headers


def test_unix_socket_is_asked_under_any_name():
    assert ask(host=(b"mail.example.org",), hosts=None)[0] == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_only_reading_is_allowed(method):
    assert ask(method=method)[0] == 405
