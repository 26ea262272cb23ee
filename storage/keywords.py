"""Keywords (IMAP flags with names): a letter in a message's file name, whose meaning each folder keeps.

Dovecot: `dovecot-keywords`, lines "0 name" for the letter a, up to 25 for z. It is Dovecot's file; scripts
enter a keyword only under Dovecot's own lock, `dovecot-keywords.lock`, made exclusively and renamed over
the file, as maildir-keywords.c does. Courier: `courierimapkeywords/:list`, the keywords one a line, an empty
line, and "<base name>:<number> <number>..." for each message.
"""

import os
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from string import ascii_lowercase

from storage.directory import Directory
from storage.dotlock import WAIT_S, dotlock
from storage.errors import StorageError
from storage.names import base_of

NAME = "dovecot-keywords"
_COURIER = "courierimapkeywords"
# Names of keywords are short; what is longer is something else.
FILE_OCTETS = 1 << 16
COURIER_OCTETS = 1 << 24

_LINE = re.compile(r"([0-9]{1,2}) (\S+)")
# An IMAP atom (RFC 9051, flag-keyword): what a client may have set.
_ATOM = re.compile(r"[!#$&'+,\-./0-9:;<=>?@A-Z\[^_`a-z|}~]+")


def is_keyword(name: str) -> bool:
    """Tell whether a keyword can have this name."""
    return len(name) <= 100 and _ATOM.fullmatch(name) is not None


def keywords(folder: Directory) -> dict[str, str]:
    """Return a folder's keywords by letter; none where there is no list. OSError."""
    found = {}
    for line in _text(folder, NAME, FILE_OCTETS).splitlines():
        match = _LINE.fullmatch(line)
        if match and int(match[1]) < len(ascii_lowercase):
            found[ascii_lowercase[int(match[1])]] = match[2]
    return found


def enter(folder: Directory, wanted: Iterable[str], *, wait_s: float = WAIT_S) -> dict[str, str]:
    """Return the letters of keywords by name, new ones entered in the folder's list, durable on return.

    A folder has 26 letters; keywords beyond them are left out. Locked, OSError.
    """
    wanted = list(dict.fromkeys(name for name in wanted if is_keyword(name)))
    letters = _by_name(keywords(folder))
    if all(name in letters for name in wanted):
        return {name: letters[name] for name in wanted}
    with dotlock(folder, NAME, wait_s=wait_s):
        known = keywords(folder)
        letters = _by_name(known)
        for name in wanted:
            free = next((letter for letter in ascii_lowercase if letter not in known), None)
            if name not in letters and free is not None:
                known[free] = name
                letters[name] = free
        _write(folder, known)
    return {name: letters[name] for name in wanted if name in letters}


def courier_keywords(folder: Directory) -> dict[str, tuple[str, ...]]:
    """Return the keywords of messages by base name, as Courier keeps them. OSError."""
    try:
        directory = folder.enter(_COURIER)
    except (FileNotFoundError, NotADirectoryError):
        return {}
    head, _, rest = _text(directory, ":list", COURIER_OCTETS).partition("\n\n")
    names = head.splitlines()
    found = {}
    for line in rest.splitlines():
        base, _, numbers = line.rpartition(":")
        chosen = [int(number) for number in numbers.split() if number.isdecimal()]
        if base:
            found[base_of(base)] = tuple(names[number] for number in chosen if number < len(names))
    return found


def _by_name(known: Mapping[str, str]) -> dict[str, str]:
    return {name: letter for letter, name in sorted(known.items(), reverse=True)}


def _write(folder: Directory, known: Mapping[str, str]) -> None:
    disk, tmp = folder.disk, NAME + ".tmp"
    text = "".join(f"{ascii_lowercase.index(letter)} {name}\n" for letter, name in sorted(known.items()))
    with suppress(FileNotFoundError):
        disk.unlink(tmp, dir_fd=folder.fd)
    fd = disk.create(tmp, dir_fd=folder.fd)
    try:
        rest = memoryview(text.encode("utf-8", "surrogateescape"))
        while rest:
            rest = rest[disk.write(fd, rest) :]
        with suppress(FileNotFoundError):
            old = disk.status(NAME, dir_fd=folder.fd)
            os.fchmod(fd, old.st_mode & 0o666)
            # Dovecot reads the file again when the second of its modification has changed, not before.
            changed = max(disk.status_of(fd).st_mtime, int(old.st_mtime) + 1)
            os.utime(fd, (changed, changed))
        disk.sync(fd)
    finally:
        disk.close(fd)
    disk.replace(tmp, NAME, dir_fd=folder.fd)
    folder.sync()


def _text(folder: Directory, name: str, most_octets: int) -> str:
    try:
        fd = folder.disk.open_file(name, dir_fd=folder.fd)
    except FileNotFoundError:
        return ""
    try:
        if folder.disk.status_of(fd).st_size > most_octets:
            raise StorageError(f"{name} has more than {most_octets} octets")
        content = b"".join(iter(lambda: folder.disk.read(fd, 1 << 16), b""))
    finally:
        folder.disk.close(fd)
    return content.decode("utf-8", "surrogateescape")
