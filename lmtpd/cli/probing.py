"""What only shows when recipient sources are asked: the second half of `lmtpd check`.

An error is what stays wrong until somebody mends it: a query that the database does not understand, a table
that is not there, an alias that leads to nobody. A warning is what may pass: a server that does not answer.
"""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from lmtpd.cli.directory import build_directory, build_lookup
from lmtpd.cli.owners import mailbox_disk
from lmtpd.config import Config, Problem, written
from lmtpd.config.places import KeyPath
from lmtpd.config.recipients import AskedSource, FileSource, RemoteSource
from lmtpd.protocol.addresses import Address
from lmtpd.recipients.entry import EntryError, read_address
from lmtpd.recipients.file import SETTLING_S
from lmtpd.recipients.lookup import AskAgain, Lookup, LookupFailed, Question, SourceDown, SourceFaulty
from lmtpd.recipients.mailbox import Unavailable, Unknown
from lmtpd.recipients.patience import NoAnswer, Patience
from lmtpd.recipients.query import FIELDS
from lmtpd.recipients.sql import SqlLookup

_PROBE = "postmaster"  # every site should know it, and none is harmed by the question


@dataclass(frozen=True, slots=True)
class Down:
    """A source that cannot be asked now, which may be no mistake in the configuration."""

    text: str


def probe(config: Config, *, sleep: Callable[[float], None] = time.sleep) -> Iterator[Problem | Down]:
    """Ask every source for the postmaster, follow every alias; yield what is wrong with the answers."""
    _let_files_settle(config, sleep)
    for index, settings in enumerate(config.recipients):
        if isinstance(settings, AskedSource):
            yield from _source(config, index, settings)
    yield from _aliases(config)


def _let_files_settle(config: Config, sleep: Callable[[float], None]) -> None:
    """Wait until nobody can be in the part of a file that its editor has yet to write."""
    young_s = 0.0
    for settings in config.recipients:
        if isinstance(settings, FileSource):
            with suppress(OSError):
                young_s = max(young_s, SETTLING_S - (time.time() - os.stat(settings.file).st_mtime))
    if young_s > 0:
        sleep(min(young_s, SETTLING_S) + 0.01)


def _source(config: Config, index: int, settings: AskedSource) -> Iterator[Problem | Down]:
    lookup = build_lookup(settings, config)
    wait_s = settings.timeout_s if isinstance(settings, RemoteSource) else 60
    question = Question(_PROBE, None, next(iter(settings.domains), config.hostname.lower()))
    key = f"recipients[{index}] ({lookup.name})"
    place = f"{config.origins.place_of(('recipients', index))}: {key}"
    try:
        Patience(at_once=1, wait_s=wait_s).call(partial(_ask, lookup, question))
    except (SourceFaulty, EntryError) as exc:
        yield Problem(place, "", str(exc))
    except (AskAgain, SourceDown, NoAnswer) as exc:
        yield Down(f"{key} cannot be asked now: {exc}")
    except LookupFailed as exc:
        yield Problem(place, "", str(exc))
    finally:
        lookup.close()


def _ask(lookup: Lookup, question: Question) -> None:
    lookup.find(question)
    if isinstance(lookup, SqlLookup) and (columns := lookup.meaningless(question)):
        raise EntryError(f"{columns[0]!r} means nothing here; what does is {', '.join(FIELDS)}")


def _aliases(config: Config) -> Iterator[Problem | Down]:
    directory = build_directory(config, mailbox_disk(config))
    try:
        for path, address, targets in _leading(config):
            for end in directory.follow(address, tuple(map(read_address, targets))):
                match end:
                    case Unknown(reason):
                        place = f"{config.origins.place_of(path)}: {written(path)}"
                        yield Problem(place, "", f"leads to nobody: {reason}")
                    case Unavailable(reason):
                        yield Down(f"{written(path)} cannot be followed now: {reason}")
    finally:
        directory.close()


def _leading(config: Config) -> Iterator[tuple[KeyPath, Address, tuple[str, ...]]]:
    for alias, targets in config.aliases.items():
        yield ("aliases", alias), read_address(alias), targets
    for name, domain in config.domains.items():
        if domain.catch_all:
            yield ("domains", name, "catch_all"), Address("*", name), domain.catch_all
    # By default nobody said that there is one; `check` prints it all the same.
    if config.postmaster != f"postmaster@{config.hostname}":
        yield ("mailboxes", "postmaster"), Address("postmaster", ""), (config.postmaster,)
