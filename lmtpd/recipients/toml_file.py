"""Users in TOML: one table each, its name the address, its keys what a source can say of a user.

["alice@example.org"]
maildir = "/srv/mail/example.org/alice"
quota = "2G"

["info@example.org"]
alias = ["alice@example.org"]
"""

import tomllib
from collections.abc import Mapping

from lmtpd.recipients.entry import Entry, EntryError, read_entry
from lmtpd.recipients.file import FileFault
from lmtpd.recipients.passwd_file import FAULTS_SHOWN, folded


def parse_toml_file(octets: bytes, *, fold_case: bool) -> Mapping[str, Entry]:
    """Read the whole file. FileFault with every faulty table."""
    try:
        tables = tomllib.loads(octets.decode())
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as exc:
        raise FileFault(f"not valid TOML: {exc}") from exc
    entries: dict[str, Entry] = {}
    faults = []
    for user, table in tables.items():
        try:
            if not isinstance(table, dict):
                raise EntryError("must be a table with the address in quotes as its name")
            name = folded(user, fold_case=fold_case)
            if name in entries:
                raise EntryError("is in it twice, in another case")
            entries[name] = read_entry(table)
        except EntryError as exc:
            faults.append(f"{user}: {exc}")
    if faults:
        raise FileFault("; ".join(faults[:FAULTS_SHOWN]))
    return entries
