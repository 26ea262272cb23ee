"""`maildir-watch`: arrivals, flag changes and deletions, live."""

import os
import select
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import click

from scripts.shell.crew import Fact
from scripts.shell.failures import Failure, named
from scripts.shell.looking import Looker
from scripts.shell.output import Printer, counted, shown
from scripts.shell.running import Script, run_script
from scripts.shell.selection import Selection, Target, takes_maildirs
from scripts.shell.sending import TOGETHER, Send, Sender, parse_command, post, run_command
from scripts.shell.work import as_json, changes_nothing
from storage.changes import Change, MaildirView
from storage.directory import Directory
from storage.errors import StorageError
from storage.watch import TreeWatch

KINDS = ("arrived", "flags", "deleted")
# A rename may be two notices; so long after the first the second one is there.
SETTLE_S = 0.2


class _Stopped(Exception):
    """SIGTERM, or enough was seen."""


@dataclass(slots=True)
class _Watched:
    """The Maildirs, each with what was there at the last look."""

    selection: Selection
    views: dict[str, tuple[Target, MaildirView]] = field(default_factory=dict)
    looker: Looker = field(default_factory=Looker)

    def begin(self) -> None:
        """Look at everything for the first time. Failure if the only Maildir cannot be looked at."""
        for path, target in self._found().items():
            self.views[path] = (target, MaildirView(target.layout))
        for target, view in self.views.values():
            for _ in _told(self.looker, target, view.look, is_fatal=len(self.views) == 1):
                pass

    def look(self) -> Iterator[Fact]:
        """Look at everything, at new Maildirs too; forget those that are gone."""
        found = self._found()
        for path in [each for each in self.views if each not in found]:
            del self.views[path]
        for target, view in list(self.views.values()):
            yield from _told(self.looker, target, view.look)
        yield from self._discover()

    def _discover(self) -> Iterator[Fact]:
        """Look at Maildirs that have come: whatever is in them has arrived."""
        for path, target in self._found().items():
            if path not in self.views:
                self.views[path] = (target, MaildirView(target.layout, is_new=True))
                yield from _told(self.looker, target, self.views[path][1].look)

    def _found(self) -> dict[str, Target]:
        targets = self.selection.targets(self.selection.config())
        return {os.path.abspath(each.path): each for each in targets}

    def notice(self, paths: Iterable[str]) -> Iterator[Fact]:
        """Look where notices say that something changed."""
        by_maildir: dict[str, list[tuple[str, ...]]] = {}
        for path in paths:
            maildir = self._maildir_of(path)
            if maildir is None and _may_be_new(path):
                yield from self._discover()
                maildir = self._maildir_of(path)
            if maildir is not None and path != maildir:
                by_maildir.setdefault(maildir, []).append(tuple(path[len(maildir) + 1 :].split("/")))
        for maildir, below in by_maildir.items():
            if maildir in self.views:
                target, view = self.views[maildir]
                yield from _told(self.looker, target, partial(view.notice, paths=below))

    def settle(self) -> Iterator[Fact]:
        """Look at what is in doubt."""
        for target, view in list(self.views.values()):
            if not view.is_settled():
                yield from _told(self.looker, target, view.settle)

    def is_settled(self) -> bool:
        """Tell whether nothing is in doubt."""
        return all(view.is_settled() for _, view in self.views.values())

    def _maildir_of(self, path: str) -> str | None:
        while path not in self.views:
            above = os.path.dirname(path)
            if above == path:
                return None
            path = above
        return path


def _may_be_new(path: str) -> bool:
    """Tell whether a path outside all known Maildirs may be one, or lead to one: a directory."""
    return os.path.isdir(path) and not os.path.islink(path)


def _told(
    looker: Looker, target: Target, look: Callable[[Directory], list[Change]], *, is_fatal: bool = False
) -> Iterator[Fact]:
    """Look, as root with the owner's rights, and make facts of the changes."""
    try:
        changes = looker.look(target, look)
    except (OSError, StorageError) as exc:
        failure = named(exc)
        if is_fatal:
            raise failure from exc
        click.echo(f"maildir-watch: {shown(target.path)}: {shown(failure)}", err=True)
        return
    now = time.time()
    for change in changes:
        yield {
            "at": round(now, 3),
            "kind": change.kind,
            "maildir": target.path,
            "user": target.user,
            "folder": change.folder,
            "name": change.name,
            "path": os.path.join(target.path, *change.parts, change.name),
            "flags": change.flags,
            "flags_before": change.flags_before,
        }


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
            for fact in _live(_Watched(selection), rescan_s):
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


def _live(watched: _Watched, rescan_s: float) -> Iterator[Fact]:
    """Yield changes as they come."""
    with _watch(watched.selection) as watch:
        # Looked at with the watch already there, so that nothing falls in between.
        watched.begin()
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
    """Watch the Maildirs, or, for all of them, the tree that they are in: others may come."""
    config = selection.config()
    if selection.is_everyone:
        assert config is not None
        roots = [Path(config.template.root)]
    else:
        roots = [Path(os.path.abspath(target.path)) for target in selection.targets(config)]
    try:
        return TreeWatch(roots)
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
