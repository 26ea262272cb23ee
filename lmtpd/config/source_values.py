"""Parsers for the values of recipient sources, domains and aliases, in the manner of `values`."""

import re
from collections.abc import Mapping

from lmtpd.config import values
from lmtpd.recipients.query import Query, parse_filter, parse_iterate_query, parse_mapping, parse_plain_filter

_LDAP_URL = re.compile(r"(ldaps?://[^/\s]+/?|ldapi://\S+)", re.ASCII)
_SOCKET = 'must be "unix:PATH" or "inet:HOST:PORT"'


def domains(value: object) -> tuple[str, ...]:
    """Accept a list of domains."""
    if not isinstance(value, list):
        shown = values.kind(value)
        raise ValueError(f'must be a list such as ["example.org"], not {shown}')  # noqa: TRY004 - pydantic's
    return tuple(map(domain, value))


def domain(value: object) -> str:
    """Accept a domain as addresses have it; it is put in lower case and in its ASCII form."""
    name = values.text(value)
    try:
        ascii_name = name if name.isascii() else name.encode("idna").decode("ascii")
        return values.hostname(ascii_name).lower()
    except ValueError as exc:  # UnicodeError is one
        raise ValueError(f'"{name}" must be a domain such as "example.org"') from exc


def addresses(value: object) -> tuple[str, ...]:
    """Accept one full address or a list of them."""
    given = value if isinstance(value, list) else [value]
    if not given:
        raise ValueError("must name at least one address")
    return tuple(map(values.address, given))


def addresses_or_none(value: object) -> tuple[str, ...]:
    """Accept one full address or a list of them, which may be empty."""
    return () if value == [] else addresses(value)


def aliases(value: object) -> Mapping[str, tuple[str, ...]]:
    """Accept a table: address = address, or a list of them."""
    if not isinstance(value, dict):
        raise ValueError(f"must be a table, not {values.kind(value)}")  # noqa: TRY004 - what pydantic collects
    result = {}
    for alias, targets in value.items():
        try:
            result[_lower_domain(values.address(alias))] = addresses(targets)
        except ValueError as exc:
            raise ValueError(f'"{alias}" = {targets!r}: both sides {exc}') from exc
    return result


def _lower_domain(address: str) -> str:
    local, _, domain = address.rpartition("@")
    return f"{local}@{domain.lower()}"


def database(value: object) -> str:
    """Accept the URL of a database."""
    given = values.text(value)
    if given.startswith("sqlite:"):
        return f"sqlite://{values.ledger_path(given)}"
    if not given.startswith(("postgresql://", "postgres://")):
        raise ValueError('must be "sqlite:///PATH" or "postgresql://USER:PASSWORD@HOST/DATABASE"')
    return given


def query(value: object) -> str:
    """Accept a query with named parameters."""
    if not isinstance(value, str) or not value.strip():
        raise ValueError("must be a query: SELECT ... WHERE address = :address")
    Query.parse(value)
    return value


def iterate_query(value: object) -> str:
    """Accept a query without parameters."""
    if not isinstance(value, str) or not value.strip():
        raise ValueError("must be a query: SELECT address FROM users")
    return parse_iterate_query(value)


def ldap_url(value: object) -> str:
    """Accept the URL of an LDAP server, without a base or a filter."""
    given = values.text(value)
    if not _LDAP_URL.fullmatch(given):
        raise ValueError('must be "ldap://HOST:PORT", "ldaps://HOST:PORT" or "ldapi://%2Fpath%2Fof%2Fsocket"')
    return given


def ldap_filter(value: object) -> str:
    """Accept a filter with placeholders."""
    return parse_filter(values.text(value))


def iterate_filter(value: object) -> str:
    """Accept a filter without placeholders."""
    return parse_plain_filter(values.text(value))


def mapping(value: object) -> Mapping[str, str]:
    """Accept a table: field = column or attribute."""
    if not isinstance(value, dict):
        raise ValueError(f"must be a table, not {values.kind(value)}")  # noqa: TRY004 - what pydantic collects
    return parse_mapping({field: values.text(column) for field, column in value.items()})


def map_socket(value: object) -> str | tuple[str, int]:
    """Accept the address of a socketmap server, as Postfix writes it."""
    kind, colon, rest = values.text(value).partition(":")
    if kind == "unix" and rest:
        return values.socket_path(rest)
    if kind != "inet" or not colon:
        raise ValueError(_SOCKET)
    host, colon, port = rest.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
        raise ValueError(_SOCKET)
    return host, int(port)


def postfix_table(value: object) -> str:
    """Accept a lookup table as Postfix writes it."""
    given = values.text(value)
    if not re.fullmatch(r"[a-z]+:\S.*", given):
        raise ValueError('must be a table with its type, such as "hash:/etc/postfix/vmailbox"')
    return given
