"""`maildir-quota`: what mailboxes may hold and what they hold; counted anew, or set."""

import os
import secrets
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import click

from scripts.shell.crew import Fact, Item, Progressed
from scripts.shell.failures import Failure
from scripts.shell.limits import Limits
from scripts.shell.output import Printer, shown
from scripts.shell.running import Script, run_script
from scripts.shell.selection import takes_maildirs
from scripts.shell.table import columns
from scripts.shell.target import Target
from scripts.shell.work import Run, as_json, dry_run, takes_run
from storage.directory import Directory
from storage.disk import Disk
from storage.names import NameSource
from storage.quota import QuotaBox, QuotaFiles, Standing
from storage.quota_count import count
from storage.quota_limit import UNLIMITED, QuotaLimit, QuotaSyntaxError, Usage, size_text

_BAR = 30  # characters of a bar of the chart


@dataclass(frozen=True, slots=True)
class _Task:
    """What to do in each Maildir."""

    limits: Limits
    new_limit: QuotaLimit | None
    counts: bool  # look at the messages, whatever the file says
    writes: bool
    files: QuotaFiles = field(
        default_factory=lambda: QuotaFiles(Disk(), NameSource(socket.gethostname(), secrets.token_hex(8)))
    )

    def do(self, target: Target, maildir: Directory) -> Iterator[Item]:
        """Show, count or set, in one Maildir."""
        box = self.limits.box_of(target)
        said = self.files.account(box, maildir)
        trusted = said if said is not None and said.is_certain else None
        before = trusted.usage if trusted is not None else None
        limit = self._limit(box, said)
        if self.writes:
            usage = self.files.recount(QuotaBox(box.inbox, box.counting, limit), maildir).usage
        elif self.counts or before is None:
            usage = count(maildir, box.counting).usage
        else:
            usage = before
        yield Progressed(usage.messages)
        yield self._fact(said, limit, before, usage)

    def _fact(self, said: Standing | None, limit: QuotaLimit, before: Usage | None, usage: Usage) -> Fact:
        fact: Fact = {
            "kind": self._kind(),
            "limit": str(limit) if limit else None,
            "limit_octets": limit.octets or None,
            "limit_messages": limit.messages or None,
            "octets": usage.octets,
            "messages": usage.messages,
            "percent": round(100 * limit.share(usage), 1) if limit else None,
        }
        if self.counts and before is not None:
            fact |= {"octets_before": before.octets, "messages_before": before.messages}
        if self.new_limit is not None:
            fact["limit_before"] = str(said.limit) if said is not None and said.limit else None
        return fact

    def _kind(self) -> str:
        if self.new_limit is not None:
            return "set" if self.writes else "would set"
        if self.counts:
            return "recalculated" if self.writes else "counted"
        return "quota"

    def _limit(self, box: QuotaBox, said: Standing | None) -> QuotaLimit:
        if self.new_limit is not None:
            return self.new_limit
        if box.limit is not None:
            return box.limit
        return said.limit if said is not None else UNLIMITED


@click.command("maildir-quota", cls=Script)
@takes_maildirs()
@takes_run
@click.option("--count", "counts", is_flag=True,
              help="Count the messages, whatever maildirsize says; change nothing.")  # fmt: skip
@click.option("--recalculate", is_flag=True, help="Count the messages and write maildirsize anew.")
@click.option("--limit", "limit_text", metavar="LIMIT",
              help='Write this limit into maildirsize, such as 2G or 2G,100000M; 0 is none.')  # fmt: skip
@click.option("--over", metavar="PERCENT", type=click.FloatRange(0), help="Show those that are fuller.")
@click.option("--plot", metavar="N", type=click.IntRange(1), help="Draw the N largest.")
@dry_run
@as_json
def maildir_quota(
    run: Run,
    *,
    counts: bool,
    recalculate: bool,
    limit_text: str | None,
    over: float | None,
    plot: int | None,
    dry_run: bool,
    as_json: bool,
) -> int:
    """Show what mailboxes may hold and what they hold, count them anew, or set what they may hold.

    The limit is the user's own, or quota.default of the configuration, or without one what maildirsize says;
    what is used is what maildirsize says, or is counted where it cannot be trusted.

    \b
    Examples:
      maildir-quota /srv/mail/example.org/bob
      maildir-quota --all --config /etc/lmtpd/lmtpd.toml --over 80 --plot 20
      maildir-quota --user bob@example.org --config /etc/lmtpd/lmtpd.toml --recalculate
      maildir-quota /srv/mail/example.org/bob --limit 2G,100000M
    """
    targets = run.targets()
    limits = Limits.of(run.config, targets)
    new_limit = _new_limit(limit_text, limits)
    changes = recalculate or new_limit is not None
    task = _Task(limits, new_limit, counts=counts or changes, writes=changes and not dry_run)
    rows: list[Fact] = []
    show = Printer(as_json=True, text=str).fact if as_json else rows.append

    def tell(fact: Fact) -> None:
        if over is None or _percent(fact) > over:
            show(fact)

    tally = run.go(task.do, tell, targets=targets)
    if rows:
        click.echo("\n\n".join(_text(rows, plot)))
    return tally.code


def _new_limit(text: str | None, limits: Limits) -> QuotaLimit | None:
    if text is None:
        return None
    if limits.default is not None:
        raise Failure(
            f"--limit {text}: quota.default is {limits.default}, and lmtpd would write that back; with"
            ' quota.default = "maildirsize" each mailbox has the limit of its file',
            os.EX_CONFIG,
        )
    if limits.own:
        raise Failure(
            f"--limit {text}: the limit of {shown(next(iter(limits.own)))} is set where the user is",
            os.EX_CONFIG,
        )
    try:
        return QuotaLimit.parse(text)
    except QuotaSyntaxError as exc:
        raise Failure(f"--limit {text}: {exc}", os.EX_USAGE) from exc


def _percent(fact: Fact) -> float:
    percent = fact["percent"]
    return percent if isinstance(percent, float) else 0.0


def _text(rows: list[Fact], plot: int | None) -> Iterator[str]:
    """Yield the table, the fullest first, and the chart."""
    rows.sort(key=lambda fact: (-_percent(fact), -_number(fact, "octets"), _name(fact)))
    table = [_row(fact) for fact in rows]
    if len(rows) > 1:
        octets, messages = (sum(_number(fact, each) for fact in rows) for each in ("octets", "messages"))
        table.append((f"all {len(rows):,}", size_text(octets), f"{messages:,}", "", "", ""))
    yield columns(("mailbox", "size", "messages", "limit", "full", ""), table)
    if plot is not None:
        largest = sorted(rows, key=lambda fact: (-_number(fact, "octets"), _name(fact)))[:plot]
        most = max(_number(fact, "octets") for fact in largest) or 1
        bars = [
            (_name(fact), "█" * max(1, round(_BAR * _number(fact, "octets") / most)), _row(fact)[1])
            for fact in largest
        ]
        yield columns((f"the {len(largest)} largest", "", ""), bars)


def _row(fact: Fact) -> tuple[str, ...]:
    limit = fact["limit"]
    full = f"{_percent(fact):.1f} %" if limit else ""
    used = size_text(_number(fact, "octets"))
    return _name(fact), used, f"{_number(fact, 'messages'):,}", str(limit or "none"), full, _remark(fact)


def _remark(fact: Fact) -> str:
    words = []
    if fact["kind"] != "quota":
        words.append(str(fact["kind"]))
    if "octets_before" in fact:
        octets = _number(fact, "octets") - _number(fact, "octets_before")
        messages = _number(fact, "messages") - _number(fact, "messages_before")
        wrong = f"maildirsize said {-octets:+,} octets, {-messages:+,} messages"
        words.append(wrong if octets or messages else "as maildirsize said")
    if fact.get("limit_before") not in (None, fact["limit"]):
        words.append(f"limit was {fact['limit_before']}")
    return "; ".join(words)


def _name(fact: Fact) -> str:
    return shown(fact.get("user") or fact["maildir"])


def _number(fact: Fact, key: str) -> int:
    number = fact[key]
    assert isinstance(number, int)
    return number


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    return run_script(maildir_quota, "maildir-quota", argv)
