"""The Maildirs that maildir-watch looks at: found, looked at as their owners, and told of as facts."""

import os
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import click

from scripts.shell.crew import Fact
from scripts.shell.everybody import Missed
from scripts.shell.failures import named
from scripts.shell.looking import Looker
from scripts.shell.output import shown
from scripts.shell.selection import Selection, say
from scripts.shell.target import Target
from storage.changes import Change, MaildirView
from storage.directory import Directory
from storage.errors import StorageError
from storage.watch import TreeWatch


@dataclass(slots=True)
class Watched:
    """The Maildirs, each with what was there at the last look."""

    selection: Selection
    watch: TreeWatch
    missed: set[Missed] = field(default_factory=set)
    views: dict[str, tuple[Target, MaildirView]] = field(default_factory=dict)
    looker: Looker = field(default_factory=Looker)

    def begin(self) -> None:
        """Look at everything for the first time. Failure if the only Maildir cannot be looked at.

        OSError: no more can be watched.
        """
        for path, target in self._found().items():
            self.watch.ensure(Path(path))
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
                try:
                    self.watch.ensure(Path(path))
                except OSError as exc:  # looked at now and then all the same
                    click.echo(f"maildir-watch: {shown(path)}: cannot watch: {exc.strerror}", err=True)
                self.views[path] = (target, MaildirView(target.layout, is_new=True))
                yield from _told(self.looker, target, self.views[path][1].look)

    def _found(self) -> dict[str, Target]:
        targets = self.selection.targets(self.selection.config(), missed=self._note)
        return {os.path.abspath(each.path): each for each in targets}

    def _note(self, missed: Missed) -> None:
        if missed not in self.missed:
            self.missed.add(missed)
            say(missed)

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
