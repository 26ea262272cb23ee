"""The rights of a mailbox's owner, for one thread of a server that is root.

setresuid(2) and its kin change the calling thread; the C library, and so Python's `os`, sends them to all
threads. Here they are called as the kernel has them. Only the effective ids change: the saved ones lead
back, and the real one keeps the owner from sending signals to the server. With an effective uid that is
not 0 the thread has no capability (capabilities(7)): none to pass over permissions, none to fill the blocks
or the quota that are reserved to root.

The rule: a thread has them for the length of one system call or a few, in a `with` block around nothing
else, so nothing that Python does between them happens with the wrong ones. A thread that cannot come back
would act as somebody else for the next client, so then the process ends.
"""

import ctypes
import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from types import TracebackType

# setresuid, setresgid, setgroups: from the kernel's tables, where uids have 32 bits.
_GENERIC = (147, 149, 159)  # include/uapi/asm-generic/unistd.h
_NUMBERS = {
    "x86_64": (117, 119, 116),
    "aarch64": _GENERIC,
    "riscv64": _GENERIC,
    "loongarch64": _GENERIC,
    "ppc64le": (164, 169, 81),
    "s390x": (208, 210, 206),
}
_KEEP = ctypes.c_long(-1)

# A PyDLL keeps the interpreter lock: these calls never wait, and giving it up would cost more than they do.
_libc = ctypes.PyDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


class RightsUnavailable(Exception):
    """This machine does not let us act as somebody else; the message says why."""


def _numbers() -> tuple[int, int, int]:
    if ctypes.sizeof(ctypes.c_void_p) != 8 or platform.machine() not in _NUMBERS:
        raise RightsUnavailable(f"not known for {platform.machine()}; known are {', '.join(_NUMBERS)}")
    return _NUMBERS[platform.machine()]


class _Step:
    """One system call with its arguments, ready to be made."""

    __slots__ = ("_call",)

    def __init__(self, number: int, *arguments: object) -> None:
        self._call = partial(_libc.syscall, ctypes.c_long(number), *arguments)

    def __call__(self) -> None:
        if self._call() != 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))


@dataclass(frozen=True, slots=True)
class Rights:
    """Whose rights, with which groups besides; never root's."""

    uid: int
    gid: int
    groups: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.uid == 0 or self.gid == 0:
            raise ValueError("these would be root's rights")

    def __str__(self) -> str:
        groups = "".join(f", group {each}" for each in self.groups)
        return f"uid {self.uid}, gid {self.gid}{groups}"


class Held:
    """A context in which the thread has an owner's rights. Any thread may enter it, none twice at a time."""

    __slots__ = ("_back", "_there")

    def __init__(self, rights: Rights) -> None:
        """Remember the process's own ids as those to come back to. RightsUnavailable."""
        setresuid, setresgid, setgroups = _numbers()
        self._there = (
            *([] if os.getgroups() == list(rights.groups) else [_Step(setgroups, *_list(rights.groups))]),
            _Step(setresgid, _KEEP, ctypes.c_long(rights.gid), _KEEP),
            _Step(setresuid, _KEEP, ctypes.c_long(rights.uid), _KEEP),
        )
        self._back = (
            _Step(setresuid, _KEEP, ctypes.c_long(os.geteuid()), _KEEP),
            _Step(setresgid, _KEEP, ctypes.c_long(os.getegid()), _KEEP),
            # A server without groups of its own has none to give up and none to take back.
            *([] if len(self._there) == 2 else [_Step(setgroups, *_list(os.getgroups()))]),
        )

    def __enter__(self) -> None:
        try:
            for step in self._there:
                step()
        except BaseException:  # KeyboardInterrupt too: the `with` block is not entered, so not left either
            self._come_back()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._come_back()

    def _come_back(self) -> None:
        try:
            for step in self._back:
                step()
        except BaseException:  # noqa: BLE001 (whatever it is, this thread must not live on)
            os.abort()


def _list(groups: Sequence[int]) -> tuple[object, object]:
    return ctypes.c_long(len(groups)), (ctypes.c_uint32 * len(groups))(*groups)


def probe(rights: Rights) -> None:
    """Take these rights in the calling thread, look at them as the kernel tells others, and come back.

    RightsUnavailable: the kernel or the container does not allow it, or something was kept.
    """
    try:
        with Held(rights):
            taken = _status()
        back = _status()
    except OSError as exc:
        raise RightsUnavailable(f"acting as {rights} is refused: {exc.strerror}") from exc
    expected = {
        "Uid": [0, rights.uid, 0, rights.uid],
        "Gid": [os.getgid(), rights.gid, os.getegid(), rights.gid],
        "Groups": sorted(rights.groups),
    }
    kept = {name: taken[name] for name, value in expected.items() if taken[name] != value}
    if kept or taken["CapEff"] != [0]:
        raise RightsUnavailable(f"acting as {rights} keeps other rights: {taken}")
    if back["Uid"] != [0, 0, 0, 0]:
        raise RightsUnavailable(f"from {rights} there is no way back: {back}")


def _status() -> dict[str, list[int]]:
    """The calling thread's ids and effective capabilities, as the kernel tells others (proc(5))."""
    fd = os.open("/proc/thread-self/status", os.O_RDONLY | os.O_CLOEXEC)
    try:
        lines = dict(line.split(b":", 1) for line in os.read(fd, 1 << 16).splitlines())
    finally:
        os.close(fd)
    bases = {"Uid": 10, "Gid": 10, "Groups": 10, "CapEff": 16}
    found = {name: [int(word, base) for word in lines[name.encode()].split()] for name, base in bases.items()}
    found["Groups"].sort()
    return found
