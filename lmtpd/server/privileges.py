"""What a server may do that stays root: little of what root may do, and to become others."""

import ctypes
import os
from collections.abc import Iterable
from typing import ClassVar

from lmtpd.config.owners import Owners
from lmtpd.server.errors import CannotStart
from storage.thread_rights import Rights, RightsUnavailable, probe

# capabilities(7), by number. What root needs here: sockets in Postfix's directory and their owners, looking
# for mailboxes, port 24, ending its workers, and becoming others.
_KEPT = {
    "CAP_CHOWN": 0,
    "CAP_DAC_OVERRIDE": 1,
    "CAP_DAC_READ_SEARCH": 2,
    "CAP_FOWNER": 3,
    "CAP_KILL": 5,
    "CAP_SETGID": 6,
    "CAP_SETUID": 7,
    "CAP_NET_BIND_SERVICE": 10,
}
_VERSION_3 = 0x20080522  # _LINUX_CAPABILITY_VERSION_3
_PR_CAPBSET_DROP = 24
_LAST_CAP = "/proc/sys/kernel/cap_last_cap"


class _Header(ctypes.Structure):
    _fields_: ClassVar = [("version", ctypes.c_uint32), ("pid", ctypes.c_int)]


class _Set(ctypes.Structure):
    _fields_: ClassVar = [(name, ctypes.c_uint32) for name in ("effective", "permitted", "inheritable")]


def act_for_events() -> None:
    """Give up, in a process that stays root and only runs commands, all but becoming and ending others.

    Before any thread exists: those that are made later have the same. OSError.
    """
    _limit_capabilities({"CAP_SETGID", "CAP_SETUID", "CAP_KILL"})


def stay_root(owners: Owners) -> None:
    """Give up root's groups and most of its capabilities, and try whether one can act as somebody else.

    For this process and all that it forks; before any thread exists. Raises CannotStart.
    """
    os.umask(0o077)
    try:
        os.setgroups([])
        _limit_capabilities(_KEPT)
        probe(Rights(owners.first_uid, owners.first_uid, owners.gids))
    except OSError as exc:
        raise CannotStart(f"{_WHY}: {exc.strerror}. {_NEEDED}", os.EX_NOPERM) from exc
    except RightsUnavailable as exc:
        raise CannotStart(f"{_WHY}: {exc}. {_NEEDED}", os.EX_NOPERM) from exc


_WHY = 'server.run_as = "recipient" does not work here'
_NEEDED = (
    "The server needs a start as root with CAP_SETUID and CAP_SETGID, in a container whose user ids are those"
    " of the mailboxes; or name one user who owns all mailboxes"
)


def _limit_capabilities(names: Iterable[str]) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    with open(_LAST_CAP, encoding="ascii") as file:
        last = int(file.read())
    kept = frozenset(_KEPT[name] for name in names)
    for number in range(last + 1):
        if number not in kept:
            # Without CAP_SETPCAP they stay in the bounding set, where they are good for nothing.
            libc.prctl(_PR_CAPBSET_DROP, number, 0, 0, 0)
    header, sets = _Header(_VERSION_3, 0), (_Set * 2)()
    _check(libc.capget(ctypes.byref(header), sets))
    mask = sum(1 << number for number in kept)
    for place, part in enumerate(sets):
        word = mask >> 32 * place & 0xFFFFFFFF
        part.permitted &= word
        part.effective &= word
        part.inheritable = 0
    _check(libc.capset(ctypes.byref(header), sets))


def _check(result: int) -> None:
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
