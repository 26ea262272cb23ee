"""Whatever a client says in whatever order and in whatever pieces, the session stays in step with it.

A machine says commands, good and bad, whole and cut, and keeps its own dull account of what has to come
back: one reply per command, one per accepted recipient behind a message, every one well-formed.
"""

import dataclasses

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tests.hostile import fuzz_targets
from tests.lmtpd.protocol.driver import SETTINGS, Driver

PATIENT = dataclasses.replace(SETTINGS, bad_commands=10**6, message_octets=2000)
ANY_BYTES = st.binary(max_size=40).filter(lambda data: b"\r" not in data and b"\n" not in data)
VERBS = st.sampled_from(
    b"LHLO MAIL RCPT RSET NOOP VRFY HELP AUTH EHLO HELO EXPN XFORWARD lhlo Mail X NOOP\0 \xff  ".split(b" ")
)
ARGUMENTS = ANY_BYTES | st.sampled_from(
    [
        *(b"FROM:<>", b"FROM:<a@b>", b"TO:<a@b>", b'TO:<""@b>', b"TO:<@>", b"FROM:<a@b> SIZE=99999", b"name"),
        *(b"FROM:<a@b> BODY=8BITMIME SMTPUTF8", "TO:<ü@b>".encode(), b"TO:<a@b> ORCPT=rfc822;a+40b"),
        b"TO:<\xc3",
    ]
)


class Dialogue(RuleBasedStateMachine):
    """`accepted` is what the client believes: the recipients that were answered 250 in this transaction."""

    def __init__(self) -> None:
        super().__init__()
        self.driver = Driver(PATIENT)
        self.accepted = 0
        self.chunking = False
        assert self.say(b"LHLO client.example\r\n") == ["250"]

    def say(self, data: bytes, cut: float = 0.0) -> list[str]:
        """Send in two pieces; the first must not be answered before its time, which `one` counts."""
        at = round(cut * len(data))
        return self.driver.send(data[:at], data[at:])

    def one(self, data: bytes, cut: float = 0.0) -> str:
        """Send a command; exactly one reply comes."""
        (code,) = self.say(data, cut)
        return code

    @rule(verb=VERBS, argument=ARGUMENTS, cut=st.floats(0, 1))
    def command(self, verb: bytes, argument: bytes, cut: float) -> None:
        code = self.one(verb + b" " + argument + b"\r\n", cut)
        word = (verb + b" " + argument).rstrip(b" \t").partition(b" ")[0].upper()
        if code[:3] == "250" and word == b"RCPT":
            self.accepted += 1
        elif code[:3] == "250" and word in (b"RSET", b"LHLO", b"MAIL"):
            self.accepted, self.chunking = 0, False

    @rule(recipients=st.integers(0, 7), cut=st.floats(0, 1))
    def envelope(self, recipients: int, cut: float) -> None:
        """RSET, MAIL and some RCPT in one group."""
        group = b"RSET\r\nMAIL FROM:<s@example.org>\r\n" + b"RCPT TO:<r@example.net>\r\n" * recipients
        codes = self.say(group, cut)
        assert codes[:2] == ["250 2.0.0", "250 2.1.0"]
        assert len(codes) == 2 + recipients
        self.accepted, self.chunking = sum(code.startswith("250") for code in codes[2:]), False

    @precondition(lambda self: not self.chunking)
    @rule(body=st.binary(max_size=60), cut=st.floats(0, 1), behind=st.sampled_from([b"", b"NOOP\r\n"]))
    def data(self, body: bytes, cut: float, behind: bytes) -> None:
        wire = (b"." if body.startswith(b".") else b"") + body.replace(b"\r\n.", b"\r\n..")
        if self.one(b"DATA\r\n")[:3] != "354":
            assert not self.accepted
            return
        codes = self.say(wire + b"\r\n.\r\n" + behind, cut)
        assert len(codes) == self.accepted + bool(behind)
        assert self.driver.messages[-1].body == body + b"\r\n"
        self.accepted = 0

    @rule(body=st.binary(max_size=90), last=st.booleans(), cut=st.floats(0, 1), large=st.booleans())
    def chunk(self, body: bytes, last: bool, cut: float, large: bool) -> None:
        body *= 40 if large else 1
        codes = self.say(b"BDAT %d%s\r\n%s" % (len(body), b" LAST" if last else b"", body), cut)
        if not last:
            assert len(codes) == 1
            self.chunking = self.chunking or self.accepted > 0
        else:
            assert len(codes) in ({self.accepted} if self.accepted else {0, 1})
            self.accepted, self.chunking = 0, False

    @rule(line=st.binary(min_size=1, max_size=20), times=st.sampled_from([1, 500]))
    def garbage(self, line: bytes, times: int) -> None:
        """A line that is no command, perhaps far too long, perhaps with bare line ends."""
        line = b"#" + (line * times).replace(b"\r\n", b"")
        assert self.one(line.rstrip(b"\r") + b"\r\n")[0] == "5"

    @invariant()
    def in_step(self) -> None:
        assert self.one(b"NOOP\r\n") == "250 2.0.0"


Dialogue.TestCase.settings = settings(
    max_examples=200, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)
TestDialogue = Dialogue.TestCase


@pytest.mark.parametrize("target", fuzz_targets.TARGETS.values(), ids=fuzz_targets.TARGETS)
@settings(max_examples=300)
@given(data=st.binary(max_size=300))
def test_any_bytes_are_taken_as_they_should_be(target, data):
    target(data)
