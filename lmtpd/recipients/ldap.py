"""The source `ldap`: one search for the user, whose attributes are what is known.

Needs ldap3, the extra "ldap". Connections are kept. A referral and more than one entry are no answer.
"""

import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import ldap3
from ldap3.core.exceptions import (
    LDAPAttributeError,
    LDAPCommunicationError,
    LDAPException,
    LDAPInvalidFilterError,
    LDAPNoSuchObjectResult,
    LDAPOperationResult,
    LDAPSizeLimitExceededResult,
)
from ldap3.utils.conv import escape_filter_chars

from lmtpd.recipients.entry import Entry, EntryError, read_entry
from lmtpd.recipients.lookup import CannotList, LookupFailed, Question, SourceDown, SourceFaulty
from lmtpd.recipients.pool import ConnectionLost, Pool

# What a server says of itself, not of the question (RFC 4511 A.2).
_PASSING = frozenset(
    {"busy", "unavailable", "unwillingToPerform", "operationsError", "timeLimitExceeded", "other"}
)
PAGE = 500  # entries; servers commonly give 1000 at most in one answer
SCOPES = {"base": ldap3.BASE, "one": ldap3.LEVEL, "sub": ldap3.SUBTREE}


@dataclass(frozen=True, slots=True)
class LdapSettings:
    """Where to ask, as whom, and for what."""

    url: str  # ldap://, ldaps:// or ldapi://
    starttls: bool
    ca_file: str | None
    bind_dn: str | None  # None: anonymous
    bind_password_file: str | None  # its first line
    base: str
    scope: str
    filter: str  # with {address}, {user}, {domain}, {detail}
    attributes: Mapping[str, str]  # field -> attribute
    timeout_s: int
    iterate_filter: str | None = None  # who everybody is
    iterate_attribute: str = "mail"  # what everybody is called


class LdapLookup:
    """Asks one LDAP server. Thread-safe."""

    def __init__(self, settings: LdapSettings) -> None:
        self.name = f"ldap {settings.url}"
        self.asks_for_detail = "{detail}" in settings.filter
        self._settings = settings
        self._pool: Pool[Any] = Pool(self._connect, _close)  # ldap3 has no types

    def find(self, question: Question) -> Entry | None:
        """Search. SourceDown, LookupFailed, EntryError."""
        with self._faults_named(self._settings.filter):
            found = self._pool.use(lambda connection: self._search(connection, question))
        if not found:
            return None
        if len(found) > 1:
            names = ", ".join(str(each["dn"]) for each in found[:3])
            raise LookupFailed(f"{len(found)} entries fit: {names}")
        return self._entry_of(found[0]["raw_attributes"])

    def users(self) -> Iterator[str]:
        """Search for everybody, in pages. CannotList, SourceDown, EntryError."""
        settings = self._settings
        if settings.iterate_filter is None:
            raise CannotList("it has no iterate_filter")
        with self._faults_named(settings.iterate_filter):
            connection = self._connect()
            try:
                yield from self._pages(connection, settings.iterate_filter)
            finally:
                _close(connection)

    def close(self) -> None:
        """Close idle connections."""
        self._pool.close()

    @contextmanager
    def _faults_named(self, wanted: str) -> Iterator[None]:
        try:
            yield
        except LDAPOperationResult as exc:
            kind = SourceDown if exc.description in _PASSING else SourceFaulty
            raise kind(f"{exc.description}: {exc.message}".strip(": ")) from exc
        except (LDAPInvalidFilterError, LDAPAttributeError) as exc:
            raise SourceFaulty(f"{wanted}: {exc}") from exc
        except (LDAPException, ConnectionLost, OSError) as exc:
            raise SourceDown(" ".join(str(exc).split()) or type(exc).__name__) from exc

    def _pages(self, connection: Any, wanted: str) -> Iterator[str]:  # ldap3 has no types
        attribute = self._settings.iterate_attribute
        found = connection.extend.standard.paged_search(
            self._settings.base, wanted, SCOPES[self._settings.scope], attributes=[attribute],
            paged_size=PAGE, generator=True,
        )  # fmt: skip
        for each in found:
            if each["type"] != "searchResEntry":
                raise LookupFailed("the server refers to another one, which is not asked")
            known = {name.lower(): values for name, values in each["raw_attributes"].items()}
            values = known.get(attribute.lower(), [])
            if not values:
                raise EntryError(f"{each['dn']} has no {attribute}")
            for value in values:
                yield value.decode("utf-8", "surrogateescape")

    def _search(self, connection: Any, question: Question) -> list[dict[str, Any]]:  # ldap3 has no types
        settings = self._settings
        values = {
            "address": question.address,
            "user": question.user,
            "domain": question.domain,
            "detail": question.detail or "",
        }
        wanted = settings.filter.format_map(
            {name: escape_filter_chars(text) for name, text in values.items()}
        )
        try:
            connection.search(
                settings.base,
                wanted,
                SCOPES[settings.scope],
                attributes=list(settings.attributes.values()) or [ldap3.NO_ATTRIBUTES],
                size_limit=2,
                time_limit=settings.timeout_s,
            )
        except LDAPSizeLimitExceededResult as exc:
            raise LookupFailed("more than two entries fit") from exc
        except LDAPNoSuchObjectResult as exc:
            raise SourceFaulty(f"the base {settings.base} is not there") from exc
        except LDAPCommunicationError as exc:
            raise ConnectionLost(str(exc)) from exc
        if any(each["type"] == "searchResRef" for each in connection.response):
            raise LookupFailed("the server refers to another one, which is not asked")
        return [each for each in connection.response if each["type"] == "searchResEntry"]

    def _entry_of(self, attributes: Mapping[str, list[bytes]]) -> Entry:
        known = {name.lower(): values for name, values in attributes.items()}
        fields: dict[str, object] = {}
        for field, attribute in self._settings.attributes.items():
            values = known.get(attribute.lower(), [])
            if len(values) > 1 and field != "alias":
                raise EntryError(f"{attribute} has {len(values)} values")
            if values:
                fields[field] = list(values) if field == "alias" else values[0]
        return read_entry(fields)

    def _connect(self) -> Any:  # ldap3 has no types
        settings = self._settings
        tls = ldap3.Tls(validate=ssl.CERT_REQUIRED, ca_certs_file=settings.ca_file)
        # Made anew each time: it remembers which of its addresses did not answer, and avoids them.
        server = ldap3.Server(settings.url, connect_timeout=settings.timeout_s, get_info=ldap3.NONE, tls=tls)
        connection = ldap3.Connection(
            server,
            user=settings.bind_dn,
            password=_first_line(settings.bind_password_file) if settings.bind_password_file else None,
            receive_timeout=settings.timeout_s,
            auto_referrals=False,
            raise_exceptions=True,
            read_only=True,
        )
        try:
            connection.open()
            if settings.starttls:
                connection.start_tls()
            connection.bind()
        except BaseException:
            _close(connection)
            raise
        return connection


def _close(connection: Any) -> None:  # ldap3 has no types
    with suppress(LDAPException, OSError):  # it is broken, or was never open
        connection.unbind()
    # After a failure ldap3 leaves its socket to the collector of garbage.
    if connection.socket is not None:
        connection.socket.close()


def _first_line(path: str) -> str:
    """Read a secret; each time, so that a new one needs no reload."""
    try:
        with open(path, encoding="utf-8") as file:
            return file.readline().rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as exc:
        raise SourceFaulty(f"{path}: {exc}") from exc
