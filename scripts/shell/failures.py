"""How a script fails: one line on standard error, and an exit code of sysexits.h."""

import os

from storage.errors import MailboxFull, MailboxMissing, MailboxUnusable, StorageError, from_oserror


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
    return Failure(str(error), code)
