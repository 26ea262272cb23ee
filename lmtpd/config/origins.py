"""What was written and where: for findings that come later than `load`, when others have been asked."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from lmtpd.config.places import KeyPath


@dataclass(frozen=True, slots=True)
class Origins:
    """The tables of file and flags as they were written, and the place of each key in them."""

    tables: Mapping[str, object] = field(default_factory=dict)
    place_of: Callable[[KeyPath], str] = lambda _: "configuration"  # "FILE:LINE" or the flag
