"""Feed any bytes to a session, and hold what it answers against the form of a reply.

`python -m tests.hostile.fuzz_session CORPUS_FOLDER` fuzzes with Atheris, where that is installed, until it is
stopped; all of libFuzzer's options work. The suite plays a few hundred inputs without it.
"""

import importlib
import re
import sys
from typing import Any

from lmtpd.protocol.events import Closed
from tests.lmtpd.protocol.driver import CLIENT, DATA, RECIPIENT, SENDER, Driver

REPLIES = re.compile(rb"(?:[2345][0-9]{2}[ -][\x20-\x7e]{0,506}\r\n)*")
# The first octet of an input says how far the dialogue has come.
BEGINNINGS = (b"", CLIENT, CLIENT + SENDER, CLIENT + SENDER + RECIPIENT, CLIENT + SENDER + RECIPIENT + DATA)


def play(data: bytes) -> Driver:
    """Play one input, whole and octet by octet; both must be the same."""
    wire = BEGINNINGS[data[0] % len(BEGINNINGS)] + data[1:] if data else b""
    whole, in_pieces = Driver(), Driver()
    whole.send(wire)
    in_pieces.send(*(wire[at : at + 1] for at in range(len(wire))))
    assert REPLIES.fullmatch(whole.output), whole.output
    assert in_pieces.output == whole.output
    assert in_pieces.messages == whole.messages
    if not any(isinstance(event, Closed) for event in whole.events):
        # Whatever it is in the midst of, it comes to an end within a line, or two for a body.
        assert whole.session.owed == 0
    return whole


def main() -> None:
    """Fuzz."""
    atheris: Any = importlib.import_module("atheris")  # Any: it has no types, and is seldom there
    atheris.instrument_all()
    atheris.Setup(sys.argv, _one_input)
    atheris.Fuzz()


def _one_input(data: bytes) -> None:
    play(data)


if __name__ == "__main__":
    main()
