"""Which events somebody wants. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Wish:
    """What one receiver wants; neither domains nor recipients: those of everybody."""

    kinds: frozenset[str]
    domains: frozenset[str] = frozenset()
    recipients: frozenset[str] = frozenset()  # in lower case

    @classmethod
    def of(cls, kinds: Iterable[str], domains: Iterable[str] = (), recipients: Iterable[str] = ()) -> "Wish":
        """Make a wish of lists."""
        return cls(frozenset(kinds), frozenset(domains), frozenset(each.lower() for each in recipients))

    def fits(self, kind: str, recipient: str) -> bool:
        """Tell whether an event is wanted that is about this mailbox, or this recipient."""
        if kind not in self.kinds:
            return False
        if not self.domains and not self.recipients:
            return True
        address = recipient.lower()
        return address in self.recipients or address.rpartition("@")[2] in self.domains


def wanted(wishes: Sequence[Wish], kind: str, recipient: str) -> bool:
    """Tell whether anybody wants it."""
    return any(wish.fits(kind, recipient) for wish in wishes)
