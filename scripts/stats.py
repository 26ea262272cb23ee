"""`maildir-stats`: how much mail there is, how old it is, when it came, what and who takes the room."""

import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from scripts.shell.chart import Bar, Panel, picture
from scripts.shell.crew import Fact, Item, Progressed
from scripts.shell.failures import Failure
from scripts.shell.output import Printer, shown
from scripts.shell.running import Script, run_script
from scripts.shell.selection import takes_maildirs
from scripts.shell.table import columns
from scripts.shell.target import Target
from scripts.shell.work import Run, as_json, changes_nothing, takes_run
from storage.directory import Directory
from storage.findings import Looked
from storage.listing import enter_folder, folders
from storage.quota_limit import size_text
from storage.statistics import AGE_NAMES, LARGEST, Amount, Calendar, Statistics, collect

# Rows of a table and bars of a chart; the rest is in --json.
_MONTHS = 24


@dataclass(frozen=True, slots=True)
class _Collecting:
    calendar: Calendar
    senders: bool

    def collect(self, target: Target, maildir: Directory) -> Iterator[Item]:
        for folder in folders(maildir, target.layout):
            directory = enter_folder(maildir, folder)
            for item in collect(directory, self.calendar, senders=self.senders):
                if isinstance(item, Looked):
                    yield Progressed(item.messages)
                else:
                    yield {"kind": "folder", "folder": folder.name} | _as_fact(item)


@dataclass(slots=True)
class _Report:
    """Everything together, and each user, or each folder where there is one Maildir only."""

    by_folder: bool
    total: Statistics = field(default_factory=Statistics)
    rows: dict[str, Statistics] = field(default_factory=dict)

    def take(self, fact: Fact) -> None:
        """Take in a folder's figures."""
        statistics = _of_fact(fact)
        row = str(fact["folder"] if self.by_folder else fact.get("user") or fact["maildir"])
        # Of rows only sizes and times are kept: there may be many thousands.
        kept = self.rows.setdefault(row, Statistics())
        kept.add(Statistics(statistics.total, statistics.unread, statistics.oldest, statistics.newest))
        where = str(fact["folder"] if self.by_folder else f"{fact['maildir']}: {fact['folder']}")
        self.total.add(statistics, prefix=f"{where}: ")

    def largest_rows(self, top: int) -> list[tuple[str, Statistics]]:
        """Return the rows with the most octets."""
        return sorted(self.rows.items(), key=lambda row: (-row[1].total.octets, row[0]))[:top]

    def months(self) -> list[tuple[str, Amount]]:
        """Return the last months, those without mail in between too."""
        known = self.total.months
        if not known:
            return []
        names = Calendar(time.time()).names
        between = names[names.index(min(known)) : names.index(max(known)) + 1]
        return [(name, known.get(name, Amount())) for name in between[-_MONTHS:]]

    def senders(self, top: int) -> list[tuple[str, Amount]]:
        """Return who sent the most octets."""
        return sorted(self.total.senders.items(), key=lambda each: (-each[1].octets, each[0]))[:top]


@click.command("maildir-stats", cls=Script)
@takes_maildirs()
@takes_run
@click.option("--senders", is_flag=True, help="Whose mail takes the most room; reads each message's header.")
@click.option("--top", metavar="N", default=10, type=click.IntRange(1, LARGEST),
              help="Rows of each table.  [10]")  # fmt: skip
@click.option("--svg", metavar="FILE", type=click.Path(dir_okay=False), help="Draw a chart.")
@changes_nothing
@as_json
def maildir_stats(run: Run, *, senders: bool, top: int, svg: str | None, as_json: bool) -> int:
    """Show how much mail there is by folder or user, by age and month of arrival, and the largest messages.

    A message is as old as its file's date says, which mail readers show as the date of arrival, and which
    stays when mail is imported or moved; maildir-export chooses by the same date.  (maildir-expire asks
    another question: how long a message has been in its folder.)  The growth is that of the mail that is
    still there.

    \b
    Examples:
      maildir-stats /srv/mail/example.org/bob --senders
      maildir-stats --all --config /etc/lmtpd/lmtpd.toml --svg mail.svg
      maildir-stats --all --config /etc/lmtpd/lmtpd.toml --json
    """
    targets = run.targets()
    report = _Report(by_folder=len(targets) == 1)
    printer = Printer(as_json=True, text=str)

    def tell(fact: Fact) -> None:
        report.take(fact)
        if as_json:
            printer.fact(fact)

    tally = run.go(_Collecting(Calendar(time.time()), senders).collect, tell, targets=targets)
    if as_json:
        printer.fact({"kind": "total", "maildirs": tally.maildirs} | _as_fact(report.total))
    else:
        click.echo("\n\n".join(_text(report, top)))
    if svg is not None:
        _draw(Path(svg), report, top)
    return tally.code


def _as_fact(statistics: Statistics) -> Fact:
    largest = sorted(statistics.largest, key=lambda each: (-each[0], each[1]))
    return {
        **_amount(statistics.total),
        "unread": statistics.unread,
        "oldest": statistics.oldest,
        "newest": statistics.newest,
        "months": {month: _amount(each) for month, each in statistics.months.items()},
        "ages": {name: _amount(each) for name, each in zip(AGE_NAMES, statistics.ages, strict=True)},
        "largest": [{"octets": octets, "name": name} for octets, name in largest],
        "senders": {sender: _amount(each) for sender, each in statistics.senders.items()},
    }


def _of_fact(fact: dict[str, Any]) -> Statistics:  # Any: as JSON has it
    return Statistics(
        total=_of_amount(fact),
        unread=fact["unread"],
        oldest=fact["oldest"],
        newest=fact["newest"],
        months={month: _of_amount(each) for month, each in fact["months"].items()},
        ages=[_of_amount(each) for each in fact["ages"].values()],
        largest=[(each["octets"], each["name"]) for each in fact["largest"]],
        senders={sender: _of_amount(each) for sender, each in fact["senders"].items()},
    )


def _amount(amount: Amount) -> Fact:
    return {"messages": amount.messages, "octets": amount.octets}


def _of_amount(fact: dict[str, Any]) -> Amount:  # Any: as JSON has it
    return Amount(fact["messages"], fact["octets"])


def _text(report: _Report, top: int) -> Iterator[str]:
    """Yield the tables."""
    total = report.total
    what = "folder" if report.by_folder else "mailbox"
    rows = [(shown(name), *_figures(each), _day(each.newest)) for name, each in report.largest_rows(top)]
    if len(report.rows) > 1:
        rows.append((f"all {len(report.rows):,}", *_figures(total), _day(total.newest)))
    yield columns((what, "messages", "unread", "size", "latest"), rows)
    ages = [
        (name, f"{each.messages:,}", size_text(each.octets))
        for name, each in zip(AGE_NAMES, total.ages, strict=True)
    ]
    yield columns(("younger than", "messages", "size"), ages)
    if months := report.months():
        yield columns(("arrived in", "messages", "size", ""), list(_growth(months)))
    if total.largest:
        largest = sorted(total.largest, reverse=True)[:top]
        yield columns(("largest messages", "size"), [(shown(name), size_text(n)) for n, name in largest])
    if total.senders:
        senders = [
            (shown(sender), f"{each.messages:,}", size_text(each.octets))
            for sender, each in report.senders(top)
        ]
        yield columns(("sender", "messages", "size"), senders)


def _figures(statistics: Statistics) -> tuple[str, str, str]:
    total = statistics.total
    return f"{total.messages:,}", f"{statistics.unread:,}", size_text(total.octets)


def _growth(months: Sequence[tuple[str, Amount]]) -> Iterator[tuple[str, str, str, str]]:
    most = max(each.octets for _, each in months) or 1
    for month, each in months:
        yield month, f"{each.messages:,}", size_text(each.octets), "█" * round(30 * each.octets / most)


def _day(at: float | None) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(at)) if at is not None else "never"


def _draw(path: Path, report: _Report, top: int) -> None:
    total = report.total.total
    months = [Bar(month, each.octets, size_text(each.octets)) for month, each in report.months()]
    rows = [
        Bar(shown(name), each.total.octets, size_text(each.total.octets))
        for name, each in report.largest_rows(top)
    ]
    ages = [
        Bar(name, each.octets, size_text(each.octets))
        for name, each in zip(AGE_NAMES, report.total.ages, strict=True)
    ]
    panels = [
        Panel("Mail by month of arrival", months, upright=True),
        Panel("Folders" if report.by_folder else "Largest mailboxes", rows),
        Panel("Younger than", ages),
    ]
    if senders := report.senders(top):
        panels.append(
            Panel("Senders", [Bar(shown(each), n.octets, size_text(n.octets)) for each, n in senders])
        )
    title = f"{total.messages:,} messages, {size_text(total.octets)}, {time.strftime('%Y-%m-%d')}"
    try:
        path.write_text(picture(title, panels), encoding="utf-8")
    except OSError as exc:
        raise Failure(f"{path}: {exc.strerror}", os.EX_CANTCREAT) from exc


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    return run_script(maildir_stats, "maildir-stats", argv)
