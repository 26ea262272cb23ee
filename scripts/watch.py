"""`maildir-watch`: arrivals, flag changes and deletions, live."""

import os
import select
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import click

from scripts.shell.crew import Fact
from scripts.shell.everybody import roots
from scripts.shell.failures import Failure, named
from scripts.shell.output import Printer, counted, shown
from scripts.shell.running import Script, run_script
from scripts.shell.selection import Selection, takes_maildirs
from scripts.shell.sending import TOGETHER, Send, Sender, parse_command, post, run_command
from scripts.shell.watching import Watched
from scripts.shell.work import as_json, changes_nothing
from storage.watch import TreeWatch

KINDS = ("arrived", "flags", "deleted")
# A rename may be two notices; so long after the first the second one is there.
SETTLE_S = 0.2


T = TypeVar("T")


class _Stopped(Exception):
    """SIGTERM, or enough was seen."""


@click.command("maildir-watch", cls=Script)
@takes_maildirs()
@click.option("--only", metavar="KIND", multiple=True, type=click.Choice(KINDS),
              help="arrived, flags or deleted.  Repeatable; else all.")  # fmt: skip
@click.option("--exec", "command", metavar="COMMAND",
              help="Run this for each change, without a shell, with {kind}, {maildir}, {user}, {folder}, "
              "{name}, {path} and {flags} filled in.")  # fmt: skip
@click.option("--exec-rate", "rate", metavar="N", default=10.0, type=click.FloatRange(0, min_open=True),
              help="At most so many a second; what is too much waits.  [10]")  # fmt: skip
@click.option("--webhook", metavar="URL", help="Post the changes there, as a JSON list.")
@click.option("--rescan", "rescan_s", metavar="SECONDS", default=300.0, type=click.FloatRange(1),
              help="Look at everything so often, also without a notice.  [300]")  # fmt: skip
@click.option("--count", metavar="N", type=click.IntRange(1), help="End after so many changes.")
@changes_nothing
@as_json
def maildir_watch(  # Long because its options are many
    selection: Selection,
    *,
    only: Sequence[str],
    command: str | None,
    rate: float,
    webhook: str | None,
    rescan_s: float,
    count: int | None,
    as_json: bool,
) -> int:
    """Tell of messages that arrive, get other flags, or go, until SIGINT or SIGTERM.

    Notices come from the kernel (inotify); where they are lost, or never come, as on NFS, the Maildirs are
    looked at from time to time, and nothing is missed but how often something changed in between.

    \b
    Examples:
      maildir-watch /srv/mail/example.org/bob
      maildir-watch --all --config /etc/lmtpd/lmtpd.toml --only arrived --json
      maildir-watch --user bob@example.org --only arrived --count 1
      maildir-watch --all --config /etc/lmtpd/lmtpd.toml --exec 'notify-push {user} {path}' --exec-rate 2
      maildir-watch --all --config /etc/lmtpd/lmtpd.toml --webhook https://push.example.org/mail
    """
    senders = _senders(command, rate, webhook)
    printer = Printer(as_json=as_json, text=_text)
    left = count or 0
    try:
        with _sigterm_stops():
            for fact in _live(selection, rescan_s):
                if only and fact["kind"] not in only:
                    continue
                printer.fact(fact)
                sys.stdout.flush()
                for sender in senders:
                    sender.add(fact)
                left -= 1
                if left == 0:
                    break
    except _Stopped:
        pass
    finally:
        for sender in senders:
            sender.close()
    return os.EX_OK


def _live(selection: Selection, rescan_s: float) -> Iterator[Fact]:
    """Yield changes as they come."""
    with _watch(selection) as watch:
        watched = Watched(selection, watch)
        # Looked at with the watch already there, so that nothing falls in between.
        _can_watch(watched.begin)
        click.echo(f"watching {counted(len(watched.views), 'Maildir')}", err=True)
        poller = select.poll()
        poller.register(watch.fileno(), select.POLLIN)
        rescan_at = time.monotonic() + rescan_s
        settle_at = 0.0
        while True:
            wait_s = SETTLE_S if not watched.is_settled() else max(rescan_at - time.monotonic(), 0.0)
            has_notices = bool(poller.poll(wait_s * 1000))
            paths = watch.take() if has_notices else frozenset()
            if "" in paths or time.monotonic() >= rescan_at:
                if "" in paths:
                    click.echo("maildir-watch: notices were lost; looking at everything", err=True)
                yield from watched.look()
                rescan_at = time.monotonic() + rescan_s
            else:
                yield from watched.notice(paths)
            if time.monotonic() >= settle_at or not has_notices:
                yield from watched.settle()
                settle_at = time.monotonic() + SETTLE_S


def _watch(selection: Selection) -> TreeWatch:
    """Watch, for all Maildirs, the trees that they are in: others may come."""
    config = selection.config()
    trees = roots(config) if selection.is_everyone and config is not None else []
    return _can_watch(lambda: TreeWatch([Path(tree) for tree in trees]))


def _can_watch(begin: Callable[[], T]) -> T:
    try:
        return begin()
    except OSError as exc:
        advice = "; if watches have run out, raise fs.inotify.max_user_watches (sysctl)"
        raise Failure(f"cannot watch: {exc}{advice}", named(exc).code) from exc


def _senders(command: str | None, rate: float, webhook: str | None) -> list[Sender]:
    """Start what sends, once all of it has been checked."""
    run = _checked("--exec", lambda text: run_command(parse_command(text)), command)
    send = _checked("--webhook", post, webhook)
    senders = [Sender(run, together=1, pause_s=1 / rate)] if run is not None else []
    return [*senders, Sender(send, together=TOGETHER, pause_s=0)] if send is not None else senders


def _checked(option: str, make: Callable[[str], Send], text: str | None) -> Send | None:
    try:
        return make(text) if text is not None else None
    except ValueError as exc:
        raise click.UsageError(f"{option}: {exc}") from exc


@contextmanager
def _sigterm_stops() -> Iterator[None]:
    def stop(*_: object) -> None:
        raise _Stopped

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _text(fact: Fact) -> str:
    at = time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(float(str(fact["at"]))))
    words = [at, str(fact["kind"]), shown(fact["maildir"]), shown(fact["folder"]), shown(fact["name"])]
    if fact["kind"] == "flags":
        words.append(f"{shown(fact['flags_before']) or '-'} -> {shown(fact['flags']) or '-'}")
    return " ".join(words)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    return run_script(maildir_watch, "maildir-watch", argv)
