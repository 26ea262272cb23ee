"""Who is at the other end of the connection."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Peer:
    """A client, as its socket shows it."""

    transport: str  # unix | tcp
    address: str = ""  # of a TCP peer
    port: int = 0
    trusted: bool = False  # may say XFORWARD

    def __str__(self) -> str:
        return f"{self.address}:{self.port}" if self.address else self.transport
