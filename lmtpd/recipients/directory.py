"""All recipient sources behind one question: whose mailbox is this address?"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

from lmtpd.protocol.addresses import Address
from lmtpd.recipients.mailbox import Aliases, Found, Resolved, Step, Unavailable, Unknown

# How often an alias may lead to another one. Postfix allows 1000 (virtual_alias_recursion_limit).
ALIAS_DEPTH = 10


class Source(Protocol):
    """One place that knows recipients. Thread-safe; must not raise for what the world does."""

    name: str

    def find(self, address: Address) -> Found:
        """Resolve one address."""

    def explain(self, address: Address) -> Iterator[Step]:
        """Tell what `find` looks at and finds."""


class Directory:
    """Ask the sources in order; the first that does not say Unknown answers."""

    def __init__(
        self,
        sources: Sequence[Source],
        *,
        postmaster: Address,
        same_as: Mapping[str, str] | None = None,
        catch_all: Mapping[str, tuple[Address, ...]] | None = None,
    ) -> None:
        """same_as: domains that mean another one. catch_all: who gets a domain's mail to unknown users."""
        self._sources = tuple(sources)
        self._postmaster = postmaster
        self._same_as = same_as or {}
        self._catch_all = catch_all or {}

    def find(self, address: Address) -> Resolved:
        """Resolve address. `<Postmaster>` without a domain (RFC 5321 4.5.1) has a mailbox by setting."""
        return self._resolve(self._meant(address), ())

    def explain(self, address: Address) -> Iterator[Step]:
        """Tell every look-up that `find` makes for address, in order."""
        meant = self._meant(address)
        if meant is not address:
            is_domain = bool(address.domain)
            yield Step("domain" if is_domain else "Postmaster without a domain", f"stands for {meant}")
        yield from self._explain(meant, ())

    def close(self) -> None:
        """Let go of the sources' connections."""
        for source in self._sources:
            if (close := getattr(source, "close", None)) is not None:
                close()

    def _resolve(self, address: Address, above: tuple[Address, ...]) -> Resolved:
        """above: the aliases that led here, the outermost first."""
        found = self._ask(address, above)
        if not isinstance(found, Aliases):
            return found
        if len(above) >= ALIAS_DEPTH:
            return Unavailable(f"more than {ALIAS_DEPTH} aliases lead to {address}")
        if len(found.targets) > 1:
            return Unavailable(f"{address} stands for {len(found.targets)} addresses")
        (target,) = found.targets
        resolved = self._resolve(self._meant(target), (*above, address))
        if isinstance(resolved, Unknown):
            # The alias exists, so somebody made a mistake here, which nobody's mail should bounce for.
            return Unavailable(f"{address} stands for {target}: {resolved.reason}")
        return resolved

    def _ask(self, address: Address, above: tuple[Address, ...]) -> Found:
        unknown = Unknown("no recipient source is configured")
        for source in self._sources:
            found = source.find(address)
            if isinstance(found, Aliases) and address in above:
                # An alias that names itself means its own mailbox, which this or a later source knows.
                if found.own is not None:
                    return found.own
                continue
            if not isinstance(found, Unknown):
                return found
            unknown = found
        targets = self._catch_all.get(address.domain, ())
        if targets and not above:
            return Aliases(targets)
        return unknown

    def _explain(self, address: Address, above: tuple[Address, ...]) -> Iterator[Step]:
        for source in self._sources:
            yield Step("source", source.name)
            yield from source.explain(address)
            found = source.find(address)
            if isinstance(found, Aliases) and address in above and found.own is None:
                continue
            if not isinstance(found, Unknown):
                break
        found = self._ask(address, above)
        if isinstance(found, Aliases) and len(above) < ALIAS_DEPTH:
            if found.targets == self._catch_all.get(address.domain):
                yield Step("catch-all", ", ".join(map(str, found.targets)))
            for target in found.targets:
                yield Step("alias", f"{address} -> {target}")
                yield from self._explain(self._meant(target), (*above, address))

    def _meant(self, address: Address) -> Address:
        if not address.domain and address.local.lower() == "postmaster":
            return self._postmaster
        if (domain := self._same_as.get(address.domain)) is not None:
            return Address(address.local, domain)
        return address
