"""Users in a file: when it is read, and what a file in a bad state means."""

import os
import time
from pathlib import Path

import pytest

from lmtpd.recipients.entry import Entry
from lmtpd.recipients.file import SETTLING_S, FileFault, FileLookup
from lmtpd.recipients.lookup import LookupFailed, Question, SourceDown

ALICE, BOB = Question("alice", None, "example.org"), Question("bob", None, "example.org")


def parse(octets: bytes) -> dict[str, Entry]:
    """One user a line, "!" is a fault."""
    if b"!" in octets:
        raise FileFault("line 1: !")
    return {name: Entry(home=f"/home/{name}") for name in octets.decode().split()}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "users"
    path.write_text("alice@example.org carol @example.net")
    os.utime(path, (1, 1))
    return path


def rewrite(file: Path, text: str, *, age_s: float = 60) -> None:
    file.with_suffix(".new").write_text(text)
    os.utime(file.with_suffix(".new"), (time.time() - age_s, time.time() - age_s))
    file.with_suffix(".new").replace(file)


def home(lookup: FileLookup, user: str, domain: str) -> str | None:
    entry = lookup.find(Question(user, None, domain))
    return entry.home if entry is not None else None


def test_addresses_bare_names_and_whole_domains(file: Path):
    lookup = FileLookup(str(file), parse)

    assert home(lookup, "alice", "example.org") == "/home/alice@example.org"
    assert home(lookup, "carol", "anywhere.org") == "/home/carol"
    assert home(lookup, "whoever", "example.net") == "/home/@example.net"
    assert home(lookup, "alice", "other.org") is None


def test_a_change_is_seen_and_an_unchanged_file_is_not_read(file: Path):
    reads = []

    def counted(octets: bytes) -> dict[str, Entry]:
        reads.append(octets)
        return parse(octets)

    lookup = FileLookup(str(file), counted)
    for _ in range(3):
        lookup.find(ALICE)
    assert len(reads) == 1

    rewrite(file, "bob@example.org")

    assert lookup.find(ALICE) is None
    assert lookup.find(BOB) is not None
    assert len(reads) == 2


@pytest.mark.parametrize("text, why", [("!", "line 1: !"), ("", "nobody is in it")])
def test_a_faulty_file_is_no_bounce_and_who_was_in_it_goes_on(file: Path, text: str, why: str):
    lookup = FileLookup(str(file), parse)
    lookup.find(ALICE)
    rewrite(file, text)

    assert lookup.find(ALICE) is not None
    with pytest.raises(LookupFailed, match=why):
        lookup.find(BOB)

    rewrite(file, "bob@example.org")
    assert lookup.find(ALICE) is None


def test_a_file_that_was_never_good_knows_nothing_for_certain(file: Path):
    rewrite(file, "!")

    with pytest.raises(LookupFailed, match="is faulty"):
        FileLookup(str(file), parse).find(ALICE)


def test_a_file_that_is_not_there_is_a_source_that_is_down(file: Path):
    lookup = FileLookup(str(file), parse)
    lookup.find(ALICE)
    file.unlink()

    with pytest.raises(SourceDown, match="No such file"):
        lookup.find(ALICE)


@pytest.mark.parametrize("age, is_certain", [(SETTLING_S - 0.1, False), (SETTLING_S, True)])
def test_somebody_missing_from_a_file_just_written_may_yet_come(file: Path, age: float, is_certain: bool):
    lookup = FileLookup(str(file), parse, clock=lambda: 1 + age)

    assert lookup.find(ALICE) is not None
    if is_certain:
        assert lookup.find(BOB) is None
    else:
        with pytest.raises(LookupFailed, match="is being written"):
            lookup.find(BOB)
