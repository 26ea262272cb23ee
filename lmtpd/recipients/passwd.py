"""The source `passwd`: the machine's users, as its name service (nsswitch.conf) knows them.

Python's `pwd` says "no such user" also when the name service is down; getpwnam_r(3) tells the two apart,
and a bounce cannot be taken back.
"""

import ctypes
import errno
import os
import pwd
from collections.abc import Iterator
from functools import cache
from typing import ClassVar

from lmtpd.recipients.entry import Entry
from lmtpd.recipients.lookup import LookupFailed, Question, SourceDown
from lmtpd.recipients.mailbox import MailboxOwner

FIRST_UID = 1000  # Debian's FIRST_UID (adduser.conf): below are the machine's own services
NOBODY_UID = 65534
_BUFFER_OCTETS = 1 << 16
_NOT_FOUND = frozenset({0, errno.ENOENT, errno.ESRCH})  # getpwnam_r(3), as Postfix reads them


class _Passwd(ctypes.Structure):
    """struct passwd of Linux's C libraries."""

    _fields_: ClassVar = [
        ("pw_name", ctypes.c_char_p),
        ("pw_passwd", ctypes.c_char_p),
        ("pw_uid", ctypes.c_uint32),
        ("pw_gid", ctypes.c_uint32),
        ("pw_gecos", ctypes.c_char_p),
        ("pw_dir", ctypes.c_char_p),
        ("pw_shell", ctypes.c_char_p),
    ]


class PasswdLookup:
    """Looks users up by name; the domain plays no part."""

    name = "passwd"
    asks_for_detail = False

    def __init__(self, *, first_uid: int = FIRST_UID) -> None:
        """first_uid: users below it receive no mail."""
        self._first_uid = first_uid

    def find(self, question: Question) -> Entry | None:
        """Return the user's home and ids. SourceDown: the name service cannot tell."""
        name = question.user.encode("utf-8", "surrogatepass")
        entry, buffer = _Passwd(), ctypes.create_string_buffer(_BUFFER_OCTETS)
        result = ctypes.c_void_p()
        code = _libc().getpwnam_r(
            ctypes.c_char_p(name),
            ctypes.byref(entry),
            buffer,
            ctypes.c_size_t(_BUFFER_OCTETS),
            ctypes.byref(result),
        )
        if result.value is None:
            if code in _NOT_FOUND:
                return None
            raise SourceDown(f"the name service cannot tell: {os.strerror(code)}")
        if not self._receives(entry.pw_uid):
            return None
        home = os.fsdecode(entry.pw_dir or b"")
        if not home.startswith("/"):
            raise LookupFailed(f"has no home directory: {home!r}")
        return Entry(home=home, owner=MailboxOwner(entry.pw_uid, entry.pw_gid))

    def users(self) -> Iterator[str]:
        """Yield all users whom the name service lists; sssd lists nobody unless told to (enumerate)."""
        for each in pwd.getpwall():
            if self._receives(each.pw_uid):
                yield each.pw_name

    def _receives(self, uid: int) -> bool:
        return uid >= self._first_uid and uid != NOBODY_UID

    def close(self) -> None:
        """Nothing is held."""


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None)
