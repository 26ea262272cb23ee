"""What only shows when a recipient source is asked: the second half of `lmtpd check`."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

from lmtpd.cli.directory import build_lookup
from lmtpd.config import Config, Problem
from lmtpd.config.recipients import AskedSource, RemoteSource
from lmtpd.recipients.entry import EntryError
from lmtpd.recipients.lookup import LookupFailed, Question, SourceDown
from lmtpd.recipients.patience import NoAnswer, Patience

_PROBE = "postmaster"  # every site should know it, and none is harmed by the question


@dataclass(frozen=True, slots=True)
class Down:
    """A source that cannot be asked now, which may be no mistake in the configuration."""

    text: str


def probe(config: Config) -> Iterator[Problem | Down]:
    """Ask every source for the postmaster; yield what is wrong with the answers."""
    for index, settings in enumerate(config.recipients):
        if not isinstance(settings, AskedSource):
            continue
        lookup = build_lookup(settings, config)
        wait_s = settings.timeout_s if isinstance(settings, RemoteSource) else 60
        question = Question(_PROBE, None, next(iter(settings.domains), config.hostname.lower()))
        place = f"recipients[{index}] ({lookup.name})"
        try:
            Patience(at_once=1, wait_s=wait_s).call(partial(lookup.find, question))
        except (SourceDown, NoAnswer) as exc:
            yield Down(f"{place} cannot be asked now: {exc}")
        except (LookupFailed, EntryError) as exc:
            yield Problem(place, "", str(exc))
        lookup.close()
