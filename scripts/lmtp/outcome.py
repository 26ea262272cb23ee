"""What came of an exchange, added up while it goes on."""

import os
from dataclasses import dataclass, field


@dataclass(slots=True)
class Outcome:
    """What came of it, known when all facts have been told."""

    accepted: int = 0
    code: int = os.EX_OK  # of sysexits.h
    failure: str = ""  # why there is no answer for some, or none at all
    refusal: str = ""  # the first recipient's that was not accepted
    connect_s: float = 0.0
    seconds: float = 0.0
    greeting: str = ""
    tls: str = ""
    refused: list[int] = field(default_factory=list)  # for each refusal, the exit code it alone would give
