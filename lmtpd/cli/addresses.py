"""Addresses on the command line."""

import os

from lmtpd.cli.failures import Failure
from lmtpd.protocol.addresses import Address, AddressError, parse_path
from lmtpd.report.formats import escaped


def parse_address(text: str) -> Address:
    """Read an address from the command line, with or without angle brackets.  Raises Failure."""
    path = text if text.startswith("<") else f"<{text}>"
    octets = path.encode(errors="surrogateescape")
    try:
        address, end = parse_path(octets, smtputf8=True)
    except AddressError as exc:
        raise Failure(f"{escaped(text)}: {exc}", os.EX_DATAERR) from exc
    if address is None or end != len(octets):
        raise Failure(f"{escaped(text)}: not one address", os.EX_DATAERR)
    return address
