"""Holding a folder against the ledger: deliveries that nobody has finished."""

from collections.abc import Iterator, Sequence

from storage.directory import Directory
from storage.findings import Finding, Place, Weight
from storage.ledger_tables import Record
from storage.listing import PARTS, Folder, entries
from storage.names import base_of


def check_ledger(
    directory: Directory, folder: Folder, records: Sequence[tuple[Record, bool]]
) -> Iterator[Finding]:
    """Compare a folder with its open records. OSError."""
    if not records:
        return
    names = {base_of(entry.name) for part in PARTS for entry in entries(directory, part)}
    bases = {name.partition(",")[0]: name for name in names}
    staged = {entry.name for entry in entries(directory, "tmp")}
    for record, is_at_work in records:
        if is_at_work or record.name in names:
            continue  # under way; or delivered, and its reply not known to have been read
        stored_as = bases.get(record.tmp)
        if stored_as is not None:
            text = f"the ledger knows it as {record.name}: a retry will not find it, and store a second copy"
            yield Finding("ledger", Place(folder.parts, "", stored_as), text)
        elif record.tmp in staged:
            text = "a delivery that died; lmtpd removes it at its next start"
            yield Finding("ledger", Place(folder.parts, "tmp", record.tmp), text, Weight.NOTE)
