"""A talk: one connection's course as a generator, which yields whenever something else must happen first.

So the same course runs in a thread of its own (`run_alone`) and, with others, in the lobby's.
"""

from collections.abc import Generator
from contextlib import suppress
from dataclasses import dataclass

from lmtpd.delivery.rounds import Delivery, Rounds
from lmtpd.server.stream import Stream


@dataclass(frozen=True, slots=True)
class Receive:
    """Go on with what the client sends: up to so many octets.

    b"" is the client's end, None that it is silent and we drain; or raise PeerSilent or PeerLost.
    """

    octets: int
    goes_on: bool = False  # what the client has begun is not complete


@dataclass(frozen=True, slots=True)
class OwnThread:
    """Go on in a thread that serves nobody else: the talk may wait, for a disk or for the client."""


# A Delivery: go on when it has had its round.
Want = Receive | Delivery | OwnThread
Talk = Generator[Want, bytes | None, None]

OWN_THREAD = OwnThread()


def run_alone(talk: Talk, stream: Stream, rounds: Rounds) -> None:
    """Go on with a talk in this thread, to its end. What it raises rises."""
    with suppress(StopIteration):
        want = next(talk)
        while True:
            value: bytes | None = None
            try:
                match want:
                    case Receive(octets, goes_on):
                        value = stream.receive(octets, goes_on=goes_on)
                    case Delivery():
                        rounds.deliver(want)
                    case OwnThread():
                        pass
            except Exception as exc:  # noqa: BLE001 whatever happens, happens to the talk
                want = talk.throw(exc)
            else:
                want = talk.send(value)
