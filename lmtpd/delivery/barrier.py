"""Step 4: is the client still there, has it changed its mind, is there time left?"""

from collections.abc import Callable
from enum import Enum
from typing import Protocol

from lmtpd.delivery.outcomes import Cause, Deferred


class Verdict(Enum):
    """Why a client's mail must not be published any more."""

    GONE = "gone"
    CANCELLED = "cancelled"


class Client(Protocol):
    """The peer as the barrier sees it."""

    def verdict(self) -> Verdict | None:
        """Tell, without waiting, whether the client has gone or has cancelled; None: go on."""


def barrier(client: Client, *, since_end_s: Callable[[], float], deadline_s: float) -> Deferred | None:
    """Return why nothing may be published any more; None: go on."""
    match client.verdict():
        case Verdict.GONE:
            return Deferred(Cause.CLIENT_GONE, "the client has gone")
        case Verdict.CANCELLED:
            return Deferred(Cause.CANCELLED, "RSET was received behind the end of the message")
        case None:
            pass
    if since_end_s() > deadline_s:
        return Deferred(Cause.TOO_LATE, f"not staged within {deadline_s:g} s")
    return None
