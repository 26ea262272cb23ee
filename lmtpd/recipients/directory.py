"""All recipient sources behind one question: whose mailbox is this address?"""

from collections.abc import Iterator, Sequence
from typing import Protocol

from lmtpd.protocol.addresses import Address
from lmtpd.recipients.mailbox import Resolved, Step, Unknown


class Source(Protocol):
    """One place that knows recipients. Thread-safe; must not raise for what the world does."""

    name: str

    def find(self, address: Address) -> Resolved:
        """Resolve one address."""

    def explain(self, address: Address) -> Iterator[Step]:
        """Tell what `find` looks at and finds."""


class Directory:
    """Ask the sources in order; the first that does not say Unknown answers."""

    def __init__(self, sources: Sequence[Source], *, postmaster: Address) -> None:
        self._sources = tuple(sources)
        self._postmaster = postmaster

    def find(self, address: Address) -> Resolved:
        """Resolve address. `<Postmaster>` without a domain (RFC 5321 4.5.1) has a mailbox by setting."""
        address = self._with_postmaster(address)
        unknown = Unknown("no recipient source is configured")
        for source in self._sources:
            resolved = source.find(address)
            if not isinstance(resolved, Unknown):
                return resolved
            unknown = resolved
        return unknown

    def explain(self, address: Address) -> Iterator[Step]:
        """Tell every look-up that `find` makes for address, in order."""
        meant = self._with_postmaster(address)
        if meant is not address:
            yield Step("Postmaster without a domain", f"stands for {meant}")
        for source in self._sources:
            yield Step("source", source.name)
            yield from source.explain(meant)
            if not isinstance(source.find(meant), Unknown):
                return

    def _with_postmaster(self, address: Address) -> Address:
        if address.domain or address.local.lower() != "postmaster":
            return address
        return self._postmaster
