"""Parsers for the values of recipient sources, domains and aliases, in the manner of `values`."""

from collections.abc import Mapping

from lmtpd.config import values


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
