"""Mending what a check found: under Dovecot's lock, noted in the undo log first, each deed one step.

The rule: a repair takes nothing away that anybody wrote. Messages get other names, places, rights or owners,
never another content, and keep their UID.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from stat import S_IMODE, S_ISDIR, S_ISREG

from storage import uidlist
from storage.directory import Directory
from storage.errors import StorageError, from_oserror
from storage.findings import (
    Finding,
    Fix,
    MakeDirectory,
    MakeFile,
    Place,
    RemoveFile,
    Rename,
    SetMode,
    SetOwner,
)
from storage.making import make_one
from storage.names import base_of
from storage.rights import as_started
from storage.undo import Step, UndoLog

# A small file that a repair writes over or removes is kept in the log.
SMALL_OCTETS = 1 << 16


class NotMended(StorageError):
    """What was found is not there any more, or something is in the way."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one repair."""

    finding: Finding
    error: str  # empty: it is done


# Owners first, since a mode can only be changed by the owner; the name last, since the others go by it.
_ORDER: tuple[type[Fix | None], ...] = (SetOwner, SetMode, MakeDirectory, MakeFile, RemoveFile, Rename)


def repair(folder: Directory, findings: Sequence[Finding], log: UndoLog) -> Iterator[Outcome]:
    """Mend what can be mended of one folder's findings. Locked, OSError: nothing was begun.

    Durable when the last outcome is out.
    """
    todo = _merged(findings)
    if not todo:
        return
    with uidlist.locked(folder):
        planned: list[tuple[Finding, Step, list[Finding]]] = []
        for finding, group in todo:
            try:
                planned.append((finding, _plan(folder, finding), group))
            except (OSError, StorageError) as exc:
                yield from (Outcome(each, str(exc)) for each in group)
        if not planned:
            return
        with as_started():
            log.begin()
            log.add(step for _, step, _ in planned)
        uidlist.rename(folder, _changed_bases(step for _, step, _ in planned))
        for finding, step, group in planned:
            error = _tried(folder, finding, step)
            yield from (Outcome(each, error) for each in group)
        for name in ("", "tmp", "new", "cur"):
            with containing(folder, name) as directory:
                directory.sync()


def _merged(findings: Sequence[Finding]) -> list[tuple[Finding, list[Finding]]]:
    """Put together what is one deed: of several new names of a message the last, with the others in it."""
    deeds: dict[object, list[Finding]] = {}
    for finding in findings:
        if finding.fix is not None:
            deeds.setdefault((finding.place, type(finding.fix)), []).append(finding)
    merged = [(group[-1], group) for group in deeds.values()]
    return sorted(merged, key=lambda pair: _ORDER.index(type(pair[0].fix)))


def _plan(folder: Directory, finding: Finding) -> Step:
    """Look at what is there now, and note it."""
    place, fix = finding.place, finding.fix
    match fix:
        case Rename(part, name):
            return _plan_rename(folder, place, part, name)
        case SetMode(mode):
            before = S_IMODE(status_of(folder, place).st_mode)
            if before == mode:
                raise NotMended("somebody else did it")
            return Step("mode", place, before=(before,))
        case SetOwner():
            status = status_of(folder, place)
            return Step("owner", place, before=(status.st_uid, status.st_gid))
        case MakeDirectory():
            return Step("directory", place)
        case MakeFile(_, instead_of):
            content = content_of(folder, place)
            if content != instead_of:
                raise NotMended("it has changed meanwhile")
            return Step("file", place, content=content)
        case RemoveFile():
            return Step("remove", place, content=content_of(folder, place))
        case None:
            raise AssertionError("nothing to mend")


def _plan_rename(folder: Directory, place: Place, part: str, name: str) -> Step:
    status_of(folder, place)
    # Asked now, since its UID is entered under the new name before it has it.
    if is_there(folder, part, name):
        raise NotMended("a file of this name is there")
    return Step("rename", place, part, name)


def _tried(folder: Directory, finding: Finding, step: Step) -> str:
    try:
        _do(folder, finding, step)
    except OSError as exc:
        return str(from_oserror(exc))
    except StorageError as exc:
        return str(exc)
    return ""


def _do(folder: Directory, finding: Finding, step: Step) -> None:
    place = finding.place
    match finding.fix:
        case Rename(part, name):
            move(folder, place.part, place.name, part, name)
        case SetMode(mode):
            set_mode(folder, place, mode)
        case SetOwner(uid, gid):
            give(folder, place, step.before[0], uid, gid)
        case MakeDirectory(mode):
            make_one(folder, place.part, mode)
        case MakeFile(content):
            write_file(folder, place, content)
        case RemoveFile():
            with containing(folder, place.part) as directory:
                directory.disk.unlink(place.name, dir_fd=directory.fd)
        case None:
            raise AssertionError("nothing to mend")


def _changed_bases(steps: Iterable[Step]) -> dict[str, str]:
    renames = [(base_of(step.place.name), base_of(step.name)) for step in steps if step.do == "rename"]
    return {old: new for old, new in renames if old != new}


def move(folder: Directory, part: str, name: str, new_part: str, new_name: str) -> None:
    """Rename a message within its folder; never over another one. OSError, StorageError."""
    with containing(folder, part) as source, containing(folder, new_part) as target:
        source.disk.rename_exclusive(name, new_name, src_dir_fd=source.fd, dst_dir_fd=target.fd)


def set_mode(folder: Directory, place: Place, mode: int) -> None:
    """Change the rights of what is at a place, whatever they are now; no link is followed. OSError."""
    with _held(folder, place) as (path, _):
        os.chmod(path, mode)


def give(folder: Directory, place: Place, uid_before: int, uid: int, gid: int) -> None:
    """Change the owner of a file with one name, or of a directory; for root. OSError, NotMended."""
    with as_started(), _held(folder, place) as (path, status):
        is_single = S_ISREG(status.st_mode) and status.st_nlink == 1
        if not (is_single or S_ISDIR(status.st_mode)) or status.st_uid != uid_before:
            raise NotMended("it is another file by now, or has a second name")
        os.chown(path, uid, gid)
        if not S_ISREG(status.st_mode):
            os.chmod(path, S_IMODE(status.st_mode))  # chown takes the set-group-id bit away


def write_file(folder: Directory, place: Place, content: bytes) -> None:
    """Write a small file anew, in one step for whoever reads it. OSError."""
    tmp = f"{place.name}.new"
    with containing(folder, place.part) as directory:
        disk = directory.disk
        try:
            fd = disk.create(tmp, dir_fd=directory.fd)
        except FileExistsError:  # of a run that died
            disk.unlink(tmp, dir_fd=directory.fd)
            fd = disk.create(tmp, dir_fd=directory.fd)
        try:
            rest = memoryview(content)
            while rest:
                rest = rest[disk.write(fd, rest) :]
            disk.sync(fd)
        finally:
            disk.close(fd)
        disk.replace(tmp, place.name, dir_fd=directory.fd)


def content_of(folder: Directory, place: Place) -> bytes | None:
    """Read a small file; None if there is none. NotMended if it is not small; OSError."""
    with containing(folder, place.part) as directory:
        try:
            fd = directory.disk.open_file(place.name, dir_fd=directory.fd)
        except FileNotFoundError:
            return None
        try:
            content = directory.disk.read(fd, SMALL_OCTETS + 1)
        finally:
            directory.disk.close(fd)
    if len(content) > SMALL_OCTETS:
        raise NotMended(f"{place.name} has more than {SMALL_OCTETS} octets")
    return content


def is_there(folder: Directory, part: str, name: str) -> bool:
    """Tell whether there is anything of this name. OSError."""
    try:
        with containing(folder, part) as directory:
            directory.disk.status(name, dir_fd=directory.fd)
    except FileNotFoundError:
        return False
    return True


def status_of(folder: Directory, place: Place) -> os.stat_result:
    """Look at what is at a place (lstat). OSError."""
    with containing(folder, place.part if place.name else "") as directory:
        name = place.name or place.part
        return directory.disk.status(name, dir_fd=directory.fd) if name else os.fstat(directory.fd)


@contextmanager
def containing(folder: Directory, part: str) -> Iterator[Directory]:
    """Open new/, cur/ or tmp/ of a folder, or for "" the folder itself. OSError."""
    yield folder.enter(part) if part else folder


@contextmanager
def _held(folder: Directory, place: Place) -> Iterator[tuple[str, os.stat_result]]:
    """Hold on to what is at a place without opening it; yield a path that leads to it and nothing else."""
    flags = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
    with containing(folder, place.part if place.name else "") as directory:
        fd = os.open(place.name or place.part or ".", flags, dir_fd=directory.fd)
    try:
        yield f"/proc/self/fd/{fd}", os.fstat(fd)
    finally:
        os.close(fd)
