"""Who began a piece of work, and whether that process is still there to end it.

An owner is written down as text in the ledger.  Years may lie between writing and asking, and process
ids are used again, so the text holds what tells one process from all others: the boot, the process id
and the tick at which the process started.  One rule stands above the rest: a living process is never
called dead, since its work would be done a second time.  When in doubt it is alive; the price is a
delivery put off until it has ended.

Owners are compared within one PID namespace: servers that share a state directory share that too.
"""

import os
import re
import secrets
from dataclasses import dataclass
from typing import Self

_TEXT = re.compile(r"[0-9a-f]{16}\.([1-9][0-9]{0,8})\.([0-9]{1,20})\.([0-9a-f]{8})")


@dataclass(frozen=True, slots=True)
class Owner:
    """One process, told from every other on this machine, earlier boots included.

    token is new for every owner and also marks the names of this process's files in tmp/.
    """

    token: str  # 16 hexadecimal digits
    pid: int
    start_ticks: int  # since boot, as in /proc/PID/stat
    boot: str  # the first 8 digits of the boot id

    @classmethod
    def of_this_process(cls, *, proc: str = "/proc") -> Self:
        """Name the calling process; after a fork the child needs an owner of its own.

        OSError when proc, the mounted process file system, cannot be read.
        """
        pid = os.getpid()
        start_ticks, _ = _look_at(pid, proc)
        return cls(secrets.token_hex(8), pid, start_ticks, _this_boot(proc))

    def __str__(self) -> str:
        return f"{self.token}.{self.pid}.{self.start_ticks}.{self.boot}"


def is_alive(text: str, *, proc: str = "/proc") -> bool:
    """Tell whether the process that an owner's text names can still act.

    A text that is no owner's, such as the empty one, is dead.  OSError when proc cannot be read.
    """
    match = _TEXT.fullmatch(text)
    if match is None or match[3] != _this_boot(proc):
        return False
    pid = int(match[1])
    try:
        start_ticks, has_ended = _look_at(pid, proc)
    except (FileNotFoundError, ProcessLookupError):
        return _exists(pid)
    return start_ticks == int(match[2]) and not has_ended


def is_running(pid: int, *, proc: str = "/proc") -> bool:
    """Tell whether there is a process of this id that can still act; in doubt there is.

    Without its start tick it may be another one than is meant.
    """
    try:
        _, has_ended = _look_at(pid, proc)
    except (FileNotFoundError, ProcessLookupError):
        return _exists(pid)
    except OSError:
        return True
    return not has_ended


def _look_at(pid: int, proc: str) -> tuple[int, bool]:
    """Return (start tick, whether it has ended and only waits for its parent); proc(5), /proc/PID/stat.

    After SIGKILL the first thread may be a zombie while another is still inside a rename on a dead
    NFS server, which can yet succeed: such a process has not ended.
    """
    with open(f"{proc}/{pid}/stat", "rb") as file:
        text = file.read()
    # The program's name stands in brackets and may itself hold blanks and brackets.
    state, *numbers = text[text.rindex(b")") + 1 :].split()
    threads, start_ticks = int(numbers[16]), int(numbers[18])
    return start_ticks, state == b"X" or (state == b"Z" and threads <= 1)


def _this_boot(proc: str) -> str:
    with open(f"{proc}/sys/kernel/random/boot_id", encoding="ascii") as file:
        return file.read(8)


def _exists(pid: int) -> bool:
    """Ask the kernel about a process that proc does not show (hidepid hides those of other users)."""
    try:
        os.kill(pid, 0)
    except (OSError, OverflowError) as exc:
        return not isinstance(exc, ProcessLookupError)  # we may not: but it is there
    return True
