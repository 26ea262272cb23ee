"""The dialogue, against a server that says what the test wants."""

from io import BytesIO

import pytest

from scripts.lmtp.client import GROUP_OCTETS, LmtpClient, Lost, Refused, ServerAddress
from scripts.lmtp.message import WireMessage
from scripts.lmtp.replies import ProtocolError
from tests.support.scripted_lmtp import GREETING, LHLO, scripted_lmtp

OK = b"250 2.0.0 ok\r\n"
GO = b"354 go\r\n"
BARE = b"250 scripted.example\r\n"


def client(scripted, timeout_s=5.0):
    return LmtpClient(ServerAddress.parse(scripted.address), name="me.example", timeout_s=timeout_s)


def send(talk, *recipients, content=b"Subject: x\n\n.\n", sender="a@b"):
    with WireMessage(BytesIO(content)) as message:
        return [
            (verdict.recipient, verdict.stage, verdict.reply.code)
            for verdict in talk.send(sender, recipients, message)
        ]


def test_each_recipient_has_its_own_reply(tmp_path):
    replies = b"250 2.0.0 one\r\n451-4.3.0 two\r\n451 4.3.0 lines\r\n"
    with scripted_lmtp(tmp_path, OK, OK, b"550 5.1.1 no\r\n", OK, GO, replies) as scripted:
        talk = client(scripted)

        verdicts = send(talk, "x@b", "y@b", "z@b")
        talk.quit()

    assert verdicts == [("y@b", "rcpt", 550), ("x@b", "data", 250), ("z@b", "data", 451)]
    assert scripted.bodies == [b"Subject: x\r\n\r\n..\r\n.\r\n"]
    assert scripted.lines == [
        b"LHLO me.example",
        b"MAIL FROM:<a@b> SIZE=17",
        b"RCPT TO:<x@b>",
        b"RCPT TO:<y@b>",
        b"RCPT TO:<z@b>",
        b"DATA",
        b"QUIT",
    ]


def test_without_recipients_nothing_is_sent(tmp_path):
    with scripted_lmtp(tmp_path, OK, b"550 5.1.1 no\r\n", OK) as scripted:
        talk = client(scripted)
        assert send(talk, "x@b") == [("x@b", "rcpt", 550)]
        talk.quit()

    assert scripted.lines[-2:] == [b"RSET", b"QUIT"]


def test_a_refused_sender_is_everybodys_answer(tmp_path):
    with scripted_lmtp(tmp_path, b"552 5.3.4 large\r\n", b"503 x\r\n", b"503 x\r\n", OK) as scripted:
        talk = client(scripted)
        assert send(talk, "x@b", "y@b") == [("x@b", "mail", 552), ("y@b", "mail", 552)]
        talk.quit()


def test_a_refused_data_is_answered_once(tmp_path):
    with scripted_lmtp(tmp_path, OK, OK, OK, b"451 4.3.0 no\r\n") as scripted:
        talk = client(scripted)
        assert send(talk, "x@b", "y@b") == [("x@b", "data", 451), ("y@b", "data", 451)]
        talk.quit()

    assert scripted.bodies == []


def test_replies_before_the_loss_hold(tmp_path):
    with scripted_lmtp(tmp_path, OK, OK, OK, GO, b"250 2.0.0 one\r\n", b"") as scripted:
        talk = client(scripted, timeout_s=0.2)
        with WireMessage(BytesIO(b"x\n")) as message:
            verdicts = talk.send("a@b", ["x@b", "y@b"], message)

            assert next(verdicts).reply.code == 250
            with pytest.raises(Lost, match=r"no reply within 0\.2 s"):
                next(verdicts)
        talk.close()


@pytest.mark.parametrize(
    "content, addresses, parameters",
    [
        (b"x\n", ("a@b", "c@d"), b" SIZE=3"),
        (b"\n\xe4\n", ("a@b", "c@d"), b" SIZE=5 BODY=8BITMIME"),
        (b"S: \xc3\xa4\n\n", ("a@b", "c@d"), b" SIZE=9 BODY=8BITMIME SMTPUTF8"),
        (b"x\n", ("a@b", "\xe4@d"), b" SIZE=3 SMTPUTF8"),
    ],
)
def test_parameters_are_said_where_they_are_needed(tmp_path, content, addresses, parameters):
    with scripted_lmtp(tmp_path, OK, OK, GO, OK) as scripted:
        talk = client(scripted)
        send(talk, addresses[1], content=content, sender=addresses[0])
        talk.quit()

    assert scripted.heard(b"MAIL") == [b"MAIL FROM:<a@b>" + parameters]


def test_nothing_is_said_that_was_not_offered(tmp_path):
    with scripted_lmtp(tmp_path, OK, OK, GO, OK, lhlo=BARE) as scripted:
        talk = client(scripted)
        send(talk, "x@b", content=b"S: \xc3\xa4\n\n\xe4\n")
        talk.quit()

    assert scripted.heard(b"MAIL") == [b"MAIL FROM:<a@b>"]


def test_smtputf8_that_is_needed_must_be_offered(tmp_path):
    with scripted_lmtp(tmp_path, lhlo=BARE) as scripted:
        talk = client(scripted)
        with pytest.raises(ProtocolError, match="SMTPUTF8"):
            send(talk, "\xe4@b")
        talk.close()


@pytest.mark.parametrize("lhlo", [LHLO, BARE])
def test_many_recipients_go_in_groups(tmp_path, lhlo):
    recipients = [f"{'x' * 60}{number}@example.org" for number in range(3 * GROUP_OCTETS // 80)]
    with scripted_lmtp(
        tmp_path, *[OK] * (len(recipients) + 1), GO, OK * len(recipients), lhlo=lhlo
    ) as scripted:
        talk = client(scripted)
        verdicts = send(talk, *recipients)
        talk.quit()

    assert verdicts == [(recipient, "data", 250) for recipient in recipients]


def test_asking_sends_nothing(tmp_path):
    with scripted_lmtp(tmp_path, OK, OK, b"550 5.1.1 no\r\n", OK) as scripted:
        talk = client(scripted)
        codes = [verdict.reply.code for verdict in talk.ask("", ["x@b", "y@b"])]
        talk.quit()

    assert codes == [250, 550]
    assert scripted.lines[1:] == [
        b"MAIL FROM:<>", b"RCPT TO:<x@b>", b"RCPT TO:<y@b>", b"RSET", b"QUIT"
    ]  # fmt: skip


@pytest.mark.parametrize(
    "greeting, error, text",
    [
        (b"421 busy\r\n", Refused, "the greeting: 421 busy"),
        (b"hello\r\n", ProtocolError, "not a reply: hello"),
        (b"2" * 5000, ProtocolError, "4096 octets"),
    ],
)
def test_a_strange_greeting_is_named(tmp_path, monkeypatch, greeting, error, text):
    monkeypatch.setattr("tests.support.scripted_lmtp.GREETING", greeting)
    with scripted_lmtp(tmp_path) as scripted, pytest.raises(error, match=text):
        client(scripted)


def test_bytes_in_the_clear_behind_starttls_are_refused(tmp_path):
    lhlo = b"250-x\r\n250 STARTTLS\r\n"
    with scripted_lmtp(tmp_path, b"220 go\r\n250 injected\r\n", lhlo=lhlo) as scripted:
        talk = client(scripted)
        with pytest.raises(ProtocolError, match="behind the reply to STARTTLS"):
            talk.starttls(None)  # it does not come so far
        talk.close()


def test_starttls_must_be_offered(tmp_path):
    with scripted_lmtp(tmp_path) as scripted:
        talk = client(scripted)
        with pytest.raises(ProtocolError, match="not offered"):
            talk.starttls(None)  # it does not come so far
        talk.close()


@pytest.mark.parametrize("text", ["", "unix:", "tcp:", "tcp:host", "tcp:host:", "tcp::24", "tcp:h:0",
                                  "tcp:h:65536", "tcp:h:x", "udp:h:24", "/socket"])  # fmt: skip
def test_what_is_no_address_is_refused(text):
    with pytest.raises(ValueError, match="write unix:PATH or tcp:HOST:PORT"):
        ServerAddress.parse(text)


def test_addresses():
    assert ServerAddress.parse("unix:/a:b") == ServerAddress(path="/a:b")
    assert ServerAddress.parse("tcp:[::1]:24") == ServerAddress(host="::1", port=24)
    assert ServerAddress.parse("tcp:mx.example:65535") == ServerAddress(host="mx.example", port=65535)


def test_nobody_there_is_lost(tmp_path):
    with pytest.raises(Lost, match="cannot connect: No such file"):
        LmtpClient(ServerAddress(path=str(tmp_path / "none")), name="x", timeout_s=1)


def test_greeting_is_kept(tmp_path):
    with scripted_lmtp(tmp_path) as scripted:
        talk = client(scripted)
        talk.quit()

    assert talk.greeting.text in GREETING.decode()
