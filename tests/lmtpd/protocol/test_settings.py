import pytest

from lmtpd.protocol import replies
from lmtpd.protocol.settings import SessionSettings


def settings(*, starttls: bool, xforward: bool) -> SessionSettings:
    return SessionSettings("mx", message_octets=7, recipients=1, starttls=starttls, xforward=xforward)


@pytest.mark.parametrize(
    "starttls, tls, offered", [(True, False, True), (True, True, False), (False, False, False)]
)
def test_starttls_is_offered_where_it_can_begin(starttls, tls, offered):
    assert ("STARTTLS" in settings(starttls=starttls, xforward=False).hello(tls=tls).lines) == offered


def test_hello_tells_name_and_size():
    hello = settings(starttls=False, xforward=True).hello(tls=False)

    assert hello == replies.hello("mx", octets=7, starttls=False, xforward=True)


@pytest.mark.parametrize(
    "starttls, tls, reply",
    [
        (True, False, None),
        (False, False, replies.NOT_IMPLEMENTED),
        (True, True, replies.TLS_ACTIVE),
        (False, True, replies.TLS_ACTIVE),
    ],
)
def test_starttls_is_refused_where_it_cannot_begin(starttls, tls, reply):
    assert settings(starttls=starttls, xforward=False).refused_verbs(tls=tls).get(b"STARTTLS") is reply


@pytest.mark.parametrize("xforward, reply", [(True, None), (False, replies.NOT_TRUSTED)])
def test_xforward_is_for_trusted_peers(xforward, reply):
    assert settings(starttls=False, xforward=xforward).refused_verbs(tls=False).get(b"XFORWARD") is reply


@pytest.mark.parametrize("verb, code", [(b"HELO", 500), (b"EHLO", 500), (b"EXPN", 502), (b"AUTH", 502)])
def test_never_accepted(verb, code):
    assert settings(starttls=True, xforward=True).refused_verbs(tls=False)[verb].code == code


def test_limits_have_the_values_of_their_sources():
    limits = settings(starttls=False, xforward=False)

    assert (limits.bad_commands, limits.command_octets) == (10, 4096)
