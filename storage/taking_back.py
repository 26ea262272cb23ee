"""Undoing a repair: its log read backwards, each step back to what it noted, if that is still possible.

What others have done since stays theirs: a message that was read meanwhile keeps its new flags under its old
name; a directory that is in use stays.
"""

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import groupby

from storage import uidlist
from storage.directory import Directory
from storage.errors import StorageError, from_oserror
from storage.listing import PARTS, entries
from storage.names import base_of
from storage.repairs import NotMended, containing, give, is_there, move, set_mode, status_of, write_file
from storage.rights import as_started
from storage.undo import Step, steps


@dataclass(frozen=True, slots=True)
class TakenBack:
    """What came of one step."""

    step: Step
    error: str  # empty: it is as it was before


def take_back(maildir: Directory, name: str, *, dry_run: bool) -> Iterator[TakenBack]:
    """Undo what a log says, the last deed first; the log goes when all of it is taken back.

    OSError, StorageError: the log cannot be read, or a folder is locked.
    """
    with as_started():
        deeds = steps(maildir, name)
    is_whole = True
    for parts, of_folder in groupby(reversed(deeds), key=lambda step: step.place.folder):
        try:
            folder = _entered(maildir, parts)
        except OSError as exc:
            for step in of_folder:
                is_whole = False
                yield TakenBack(step, str(from_oserror(exc)))
            continue
        for taken in _in_folder(folder, list(of_folder), uid=os.fstat(maildir.fd).st_uid, dry_run=dry_run):
            is_whole &= not taken.error
            yield taken
    if is_whole and not dry_run:
        with as_started():
            maildir.disk.unlink(name, dir_fd=maildir.fd)
        maildir.sync()


def _in_folder(folder: Directory, deeds: list[Step], *, uid: int, dry_run: bool) -> Iterator[TakenBack]:
    if dry_run:
        yield from (TakenBack(step, "") for step in deeds)
        return
    with uidlist.locked(folder):
        changes = {base_of(step.name): base_of(step.place.name) for step in deeds if step.do == "rename"}
        uidlist.rename(folder, {new: old for new, old in changes.items() if new != old})
        for step in deeds:
            error = ""
            try:
                _back(folder, step, uid)
            except OSError as exc:
                error = str(from_oserror(exc))
            except StorageError as exc:
                error = str(exc)
            yield TakenBack(step, error)
        for part in ("", "tmp", "new", "cur"):
            # A directory that a repair had made may be gone again.
            with suppress(FileNotFoundError), containing(folder, part) as directory:
                directory.sync()


def _back(folder: Directory, step: Step, uid: int) -> None:
    place = step.place
    match step.do, step.before:
        case "rename", _:
            _rename_back(folder, step)
        case "mode", (mode,):
            set_mode(folder, place, mode & 0o7777)
        case "owner", (old_uid, old_gid):
            if status_of(folder, place).st_uid != old_uid:
                give(folder, place, uid, old_uid, old_gid)
        case "directory", _:
            with suppress(FileNotFoundError):
                os.rmdir(place.part, dir_fd=folder.fd)
        case "file" | "remove", _:
            _restore(folder, step)
        case _:
            raise NotMended(f"{step.do} is no deed of this version")


def _rename_back(folder: Directory, step: Step) -> None:
    place = step.place
    if is_there(folder, step.part, step.name):
        move(folder, step.part, step.name, place.part, place.name)
        return None
    if is_there(folder, place.part, place.name):
        return None  # the run died before it was renamed
    base = base_of(step.name)
    for part in PARTS:
        for entry in entries(folder, part):
            if base_of(entry.name) == base:
                information = entry.name[len(base) :]
                return move(folder, part, entry.name, part, base_of(place.name) + information)
    raise NotMended("the message is gone")


def _restore(folder: Directory, step: Step) -> None:
    if step.content is not None:
        write_file(folder, step.place, step.content)
        return
    with suppress(FileNotFoundError), containing(folder, step.place.part) as directory:
        directory.disk.unlink(step.place.name, dir_fd=directory.fd)


def _entered(maildir: Directory, parts: tuple[str, ...]) -> Directory:
    for part in parts:
        maildir = maildir.enter(part)
    return maildir
