"""All recipient sources behind one question: whose mailbox is this address?"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Protocol

from lmtpd.protocol.addresses import Address
from lmtpd.recipients.mailbox import (
    Aliases,
    Found,
    Mailbox,
    Mailboxes,
    Resolved,
    Step,
    Unavailable,
    Unknown,
)
from storage.maildir import MaildirPath

# How often an alias may lead to another one. Postfix allows 1000 (virtual_alias_recursion_limit).
ALIAS_DEPTH = 10
# To how many addresses one recipient may lead: each is asked for and written to in one thread.
ALIAS_TARGETS = 100


class Source(Protocol):
    """One place that knows recipients. Thread-safe; must not raise for what the world does."""

    name: str
    may_wait: bool  # it asks another server or process, and its answer may take long

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
        self._may_wait = any(source.may_wait for source in self._sources)

    @property
    def may_wait(self) -> bool:
        """Whether a look-up may take long: it asks another server, say."""
        return self._may_wait

    def find(self, address: Address) -> Resolved:
        """Resolve address. `<Postmaster>` without a domain (RFC 5321 4.5.1) has a mailbox by setting."""
        meant = self._meant(address)
        found = self._ask(meant, ())
        return self._expand(meant, found) if isinstance(found, Aliases) else found

    def find_itself(self, address: Address) -> Mailbox | Unknown | Unavailable | None:
        """Resolve address to the mailbox that is its own, no alias followed; None: it is an alias alone."""
        meant = self._meant(address)
        # As if it stood for itself: so its own mailbox is what counts, and no catch-all.
        match self._ask(meant, (meant,)):
            case Aliases():
                raise AssertionError(f"{meant} stands for itself")
            case Unknown() as unknown:
                return None if isinstance(self._ask(meant, ()), Aliases) else unknown
            case found:
                return found

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

    def _expand(self, address: Address, aliases: Aliases) -> Mailbox | Mailboxes | Unavailable:
        """Follow aliases to all mailboxes they stand for. Anything else on the way is somebody's mistake,
        which no mail should bounce for: the alias exists.
        """
        found: dict[tuple[str, MaildirPath], Mailbox] = {}
        for end in self.follow(address, aliases.targets):
            if not isinstance(end, Mailbox):
                return Unavailable(end.reason)
            found[end.address, end.maildir] = replace(end, alias=str(address))
        if len(found) == 1:
            return next(iter(found.values()))
        return Mailboxes(str(address), tuple(found.values()))

    def follow(
        self, address: Address, targets: Sequence[Address]
    ) -> Iterator[Mailbox | Unknown | Unavailable]:
        """Yield what lies at each end of an alias. Unknown: to nobody, and so it will stay."""
        # With the aliases that led there, the outermost first.
        waiting: list[tuple[Sequence[Address], tuple[Address, ...]]] = [(targets, (address,))]
        asked = 0
        while waiting:
            targets, path = waiting.pop(0)
            asked += len(targets)
            if len(path) > ALIAS_DEPTH or asked > ALIAS_TARGETS:
                yield Unknown(
                    f"{address} leads over more than {ALIAS_DEPTH} aliases or to more than"
                    f" {ALIAS_TARGETS} addresses"
                )
                return
            for target in map(self._meant, targets):
                match self._ask(target, path):
                    case Mailbox() as mailbox:
                        yield mailbox
                    case Aliases() as more:
                        waiting.append((more.targets, (*path, target)))
                    case Unknown(reason):
                        loop = "the aliases go round in a circle, and " if target in path else ""
                        yield Unknown(f"{path[-1]} stands for {target}: {loop}{reason}")
                    case Unavailable(reason):
                        yield Unavailable(f"{path[-1]} stands for {target}: {reason}")

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
            address = self._postmaster
        if (domain := self._same_as.get(address.domain)) is not None:
            return Address(address.local, domain)
        return address
