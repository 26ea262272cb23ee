"""The parameters of DSN (RFC 3461 4): taken where it is offered, unknown where it is not."""

import pytest

from lmtpd.protocol import replies
from lmtpd.protocol.commands import ENVID_CHARACTERS, ORCPT_OCTETS, BadCommand, parse_mail, parse_rcpt
from lmtpd.protocol.session import Session, SessionSettings
from tests.lmtpd.protocol.driver import codes


def mail(parameters: str, *, dsn: bool = True) -> dict[str, bytes]:
    return dict(parse_mail(f"FROM:<s@example.org> {parameters}".encode(), dsn=dsn)[2].others)


def rcpt(parameters: str, *, dsn: bool = True) -> dict[str, bytes]:
    return dict(parse_rcpt(f"TO:<r@example.org> {parameters}".encode(), smtputf8=False, dsn=dsn)[2])


@pytest.mark.parametrize(
    "parameters, known",
    [
        ("RET=FULL", {"RET": b"FULL"}),
        ("ret=hdrs", {"RET": b"HDRS"}),
        ("ENVID=QQ314159", {"ENVID": b"QQ314159"}),
        ("ENVID=a+2Bb+20c", {"ENVID": b"a+2Bb+20c"}),
        ("RET=HDRS ENVID=x AUTH=<>", {"RET": b"HDRS", "ENVID": b"x", "AUTH": b"<>"}),
    ],
)
def test_mail_takes(parameters, known):
    assert mail(parameters) == known


@pytest.mark.parametrize(
    "parameters",
    [
        *(
            "RET=",
            "RET",
            "RET=HEADERS",
            "RET=FULL,HDRS",
            "ENVID=",
            "ENVID",
            "ENVID=a=b",
            "ENVID=a+2",
            "ENVID=a+zz",
        ),
        *("ENVID=a+zz", "ENVID=+0D+0A", "ENVID=+00", "ENVID=+C3+BC", "RET=FULL RET=FULL", "ENVID=a ENVID=b"),
    ],
)
def test_mail_refuses(parameters):
    with pytest.raises(BadCommand) as caught:
        mail(parameters)

    assert caught.value.reply.code == 501


@pytest.mark.parametrize("characters, is_taken", [(-1, True), (0, True), (1, False)])
def test_an_envelope_id_has_a_length(characters, is_taken):
    envid = "+41" + "x" * (ENVID_CHARACTERS - 1 + characters)

    if is_taken:
        assert mail(f"ENVID={envid}") == {"ENVID": envid.encode()}
    else:
        with pytest.raises(BadCommand):
            mail(f"ENVID={envid}")


@pytest.mark.parametrize(
    "value, known",
    [
        ("NEVER", b"NEVER"),
        ("success", b"SUCCESS"),
        ("FAILURE,DELAY", b"FAILURE,DELAY"),
        ("Success,Failure,Delay", b"SUCCESS,FAILURE,DELAY"),
    ],
)
def test_rcpt_takes_notify(value, known):
    assert rcpt(f"NOTIFY={value}") == {"NOTIFY": known}


@pytest.mark.parametrize(
    "value",
    [
        "",
        "NEVER,SUCCESS",
        "SUCCESS,NEVER",
        "SUCCESS,",
        ",SUCCESS",
        "SUCCESS;DELAY",
        "ALWAYS",
        "SUCCESS,,DELAY",
    ],
)
def test_rcpt_refuses_notify(value):
    with pytest.raises(BadCommand) as caught:
        rcpt(f"NOTIFY={value}")

    assert caught.value.reply is replies.BAD_PARAMETER


@pytest.mark.parametrize("octets, is_taken", [(-1, True), (0, True), (1, False)])
def test_an_original_recipient_has_a_length(octets, is_taken):
    orcpt = "rfc822;" + "x" * (ORCPT_OCTETS - len("rfc822;") + octets)

    if is_taken:
        assert rcpt(f"ORCPT={orcpt}") == {"ORCPT": orcpt.encode()}
    else:
        with pytest.raises(BadCommand):
            rcpt(f"ORCPT={orcpt}")


@pytest.mark.parametrize("parameters", ["RET=FULL", "ENVID=x"])
def test_mail_does_not_know_them_where_dsn_is_not_offered(parameters):
    with pytest.raises(BadCommand) as caught:
        mail(parameters, dsn=False)

    assert caught.value.reply is replies.UNKNOWN_PARAMETER


def test_rcpt_knows_orcpt_alone_where_dsn_is_not_offered():
    assert rcpt("ORCPT=rfc822;a@b", dsn=False) == {"ORCPT": b"rfc822;a@b"}
    with pytest.raises(BadCommand) as caught:
        rcpt("NOTIFY=NEVER", dsn=False)

    assert caught.value.reply is replies.UNKNOWN_PARAMETER


@pytest.mark.parametrize(
    "dsn, answered", [(True, ["250 2.1.0", "501 5.5.4"]), (False, ["555 5.5.4", "503 5.5.1"])]
)
def test_a_session_offers_what_it_takes(dsn, answered):
    session = Session(SessionSettings("mx.example.org", message_octets=1000, recipients=5, dsn=dsn))
    session.receive(b"LHLO client.example\r\n")
    while session.next_event() is not None:
        pass
    hello = session.take_output()

    session.receive(b"MAIL FROM:<s@example.org> RET=FULL\r\nRCPT TO:<r@example.org> NOTIFY=x\r\n")
    while session.next_event() is not None:
        pass

    assert (b"250-DSN\r\n" in hello or b"250 DSN\r\n" in hello) is dsn
    assert codes(session.take_output()) == answered
