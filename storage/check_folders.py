"""Looking at what a folder consists of beside its messages: directories, marker, companions, strangers."""

import os
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from stat import S_ISDIR, S_ISLNK, S_ISREG

from storage import uidlist
from storage.checking import MESSAGE, Expected, called
from storage.directory import Directory
from storage.findings import Finding, MakeDirectory, MakeFile, Place, RemoveFile, Rename, Weight
from storage.folders import Layout
from storage.listing import Folder
from storage.maildirs import MARKER
from storage.making import SUBDIRECTORIES

# What mail programs keep beside new/, cur/ and tmp/; hidden files apart.
_COMPANIONS = re.compile(
    r"maildir(folder|size|shared)|dovecot.*|courier.*|subscriptions.*|sieve.*|shared-.*|maildir-check\.undo.*|lmtpd-trash"
)
# What the owner's mail programs must be able to write. Modes are their own business.
_SHARED = ("maildirsize", "maildirfolder", "dovecot", "subscriptions")


def check_twins(folders: Iterable[Folder]) -> Iterator[Finding]:
    """Tell folders whose names differ in the case of letters alone: mail readers mix them up."""
    by_name: dict[str, list[Folder]] = defaultdict(list)
    for folder in folders:
        by_name[folder.name.casefold()].append(folder)
    for twins in by_name.values():
        for twin in twins[1:]:
            yield Finding("case_twin", Place(twin.parts, "", ""), f"beside the folder {twins[0].name}")


def check_folder(
    directory: Directory, folder: Folder, layout: Layout, expected: Expected
) -> Iterator[Finding]:
    """Look at everything of one folder but its messages. OSError."""
    here = folder.parts
    yield from expected.rights(Place(here, "", ""), os.fstat(directory.fd))
    for part in SUBDIRECTORIES:
        try:
            status = directory.disk.status(part, dir_fd=directory.fd)
        except FileNotFoundError:
            fix = MakeDirectory(expected.directory_mode)
            yield Finding("structure", Place(here, part, ""), f"{part}/ is missing", fix=fix)
            continue
        if not S_ISDIR(status.st_mode):
            yield Finding("structure", Place(here, part, ""), f"{part} is {called(status)}, no directory")
        else:
            yield from expected.rights(Place(here, part, ""), status)
    if not folder.is_canonical:
        yield Finding("folder_name", Place(here, "", ""), "not a name that lmtpd or Dovecot would give")
    yield from _marker(directory, folder, layout)
    with os.scandir(directory.fd) as listed:
        for entry in listed:
            if entry.name not in SUBDIRECTORIES:
                yield from _beside(entry, here, layout, expected)


def _marker(directory: Directory, folder: Folder, layout: Layout) -> Iterator[Finding]:
    place = Place(folder.parts, "", MARKER)
    wanted = layout is Layout.MAILDIRPP and bool(folder.parts)
    try:
        directory.disk.status(MARKER, dir_fd=directory.fd)
    except FileNotFoundError:
        if wanted:
            # Nobody but quota programs asks for it.
            yield Finding("marker", place, f"a folder without {MARKER}", Weight.NOTE, MakeFile(b""))
        return
    if wanted:
        return
    if uidlist.exists(directory):
        yield Finding("marker", place, f"{MARKER} in no Maildir++ folder, as Dovecot makes it", Weight.NOTE)
    else:
        where = "a folder of the layout fs" if folder.parts else "a Maildir, which is no folder,"
        yield Finding("marker", place, f"{where} has {MARKER}", fix=RemoveFile())


def _beside(
    entry: os.DirEntry[str], here: tuple[str, ...], layout: Layout, expected: Expected
) -> Iterator[Finding]:
    """Judge what lies beside new/, cur/ and tmp/."""
    name = entry.name
    place = Place(here, "", name)
    try:
        status = entry.stat(follow_symlinks=False)
    except FileNotFoundError:
        return
    if S_ISLNK(status.st_mode):
        if not name.startswith(".dovecot"):  # the active Sieve script is one
            yield Finding("link", place, "a link, which no script follows")
    elif S_ISDIR(status.st_mode):
        is_folder = name.startswith(".") if layout is Layout.MAILDIRPP else not name.startswith(".")
        if not is_folder and not _COMPANIONS.fullmatch(name):
            yield Finding("stray", place, "a directory that is no folder", Weight.NOTE)
    elif not S_ISREG(status.st_mode):
        yield Finding("stray", place, f"{called(status)} in a Maildir")
    elif MESSAGE.fullmatch(name):
        part = "cur" if ":" in name else "new"
        yield Finding("stray", place, "a message outside new/ and cur/", fix=Rename(part, name))
    elif not name.startswith(".") and not _COMPANIONS.fullmatch(name):
        yield Finding("stray", place, "a file of no mail program", Weight.NOTE)
    elif name.startswith(_SHARED):
        yield from expected.ownership(place, status)
