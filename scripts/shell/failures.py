"""How a script fails: one line on standard error, and an exit code of sysexits.h."""

import os
import re

from storage.errors import MailboxFull, MailboxMissing, MailboxUnusable, StorageError, from_oserror

_NUMBERED = re.compile(r"\[Errno \d+\] ")


class Failure(Exception):
    """A script cannot do what it was asked to, for one Maildir or at all."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


def named(error: OSError | StorageError) -> Failure:
    """Turn the world's faults into a line and a code."""
    if isinstance(error, OSError):
        error = from_oserror(error)
    match error:
        case MailboxMissing():
            code = os.EX_NOINPUT
        case MailboxUnusable():
            code = os.EX_NOPERM
        case MailboxFull():
            code = os.EX_CANTCREAT
        case _:
            code = os.EX_IOERR
    return Failure(_told(error), code)


def _told(error: StorageError) -> str:
    """Say it without the number that Python puts before it: "cur: Permission denied"."""
    said = error.oserror
    if said is None or not said.strerror:
        return _NUMBERED.sub("", str(error))
    names = [os.fsdecode(each) for each in (said.filename, said.filename2) if isinstance(each, str | bytes)]
    return ": ".join((" -> ".join(names), said.strerror)) if names else said.strerror
