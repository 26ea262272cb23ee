"""The aliases of the configuration file: an address stands for one or several others."""

from collections.abc import Iterator, Mapping

from lmtpd.protocol.addresses import Address
from lmtpd.recipients.mailbox import Aliases, Found, Step, Unknown
from lmtpd.recipients.naming import user_and_detail
from lmtpd.recipients.rules import MaildirRules


class AliasTable:
    """Look addresses up as they are, then without their detail. Values only; safe for all threads."""

    name = "aliases"
    may_wait = False

    def __init__(self, aliases: Mapping[str, tuple[Address, ...]], rules: MaildirRules) -> None:
        """The addresses of aliases have their domains in lower case."""
        self._rules = rules
        self._aliases = {self._plain(read, detail=True): to for read, to in _read(aliases)}

    def find(self, address: Address) -> Found:
        """Resolve address."""
        for detail in (True, False):
            if (targets := self._aliases.get(self._plain(address, detail=detail))) is not None:
                return Aliases(targets)
        return Unknown(f"no alias {address}")

    def explain(self, address: Address) -> Iterator[Step]:
        """Tell what `find` finds."""
        found = self.find(address)
        yield Step("alias", ", ".join(map(str, found.targets)) if isinstance(found, Aliases) else "none")

    def _plain(self, address: Address, *, detail: bool) -> str:
        rules = self._rules
        user, _ = user_and_detail(
            address, delimiters="" if detail else rules.delimiters, fold_case=rules.fold_case
        )
        return f"{user}@{address.domain}"


def _read(aliases: Mapping[str, tuple[Address, ...]]) -> Iterator[tuple[Address, tuple[Address, ...]]]:
    for text, targets in aliases.items():
        local, _, domain = text.rpartition("@")
        yield Address(local, domain), targets
