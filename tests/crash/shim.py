# Long because the list of wrapped calls and its driver belong together.
"""The test's side of shim.c: compile it, say where it acts, and read what a process tree did.

`Shim.environment` goes into the environment of the process under test. `arm` opens the window at a moment
when the server waits for the client, so that the same number is the same call in every run.
"""

import ctypes
import errno
import functools
import mmap
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from types import TracebackType

from tests.support.requirements import need

SOURCE = Path(__file__).with_name("shim.c")
CAPACITY = 20_000  # calls that are recorded; more are counted only

_PATH_OCTETS = 232
_NAME_OCTETS = 64
_PLACES = 8


class Kind(IntEnum):
    """The calls that are seen, as in shim.c; names of one kind differ only in their arguments."""

    OPEN = 0
    MKDIR = 1
    WRITE = 2
    COPY = 3
    FSYNC = 4
    FDATASYNC = 5
    CLOSE = 6
    RENAME = 7
    LINK = 8
    UNLINK = 9
    RMDIR = 10
    TRUNCATE = 11
    FLOCK = 12
    SEND = 13
    SYNCFS = 14
    LOCK = 15
    """Of a part of a file (fcntl); seen only when nothing else is asked for: there are many."""


EVERYTHING = frozenset(Kind) - {Kind.LOCK}
SYNCS = frozenset({Kind.FSYNC, Kind.FDATASYNC, Kind.SYNCFS})


class Action(IntEnum):
    """What happens at the n-th call."""

    NONE = 0
    KILL = 1
    CUT = 2
    FAIL = 3
    SHORT = 4
    STOP = 5


class Flush(IntEnum):
    """What a file system still writes when its power goes: nothing, or its journal (FS_IOC_SHUTDOWN)."""

    JOURNAL = 1
    NOTHING = 2


@dataclass(frozen=True, slots=True)
class Call:
    """One call, as it was recorded. `begin` and `end` are moments of one clock for all processes."""

    kind: Kind
    number: int
    begin: int
    end: int | None
    result: int
    error: int
    pid: int
    tid: int
    fd: int
    flags: int
    octets: int
    path: str
    other: bytes

    def __str__(self) -> str:
        what = f"call {self.number}: {self.kind.name.lower()} {self.path}"
        if self.kind is Kind.SEND:
            return f"call {self.number}: send {self.other[:60]!r}"
        if self.other:
            what += f" -> {self.other.decode(errors='replace')}"
        if self.kind in {Kind.WRITE, Kind.COPY}:
            what += f" ({self.octets} octets)"
        return what + (f" = {errno.errorcode.get(self.error, self.error)}" if self.error else "")


class _CCall(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_uint64) for name in ("begin", "end", "number", "octets")),
        ("result", ctypes.c_int64),
        *((name, ctypes.c_int32) for name in ("error", "kind", "pid", "tid", "fd", "flags")),
        ("path", ctypes.c_char * _PATH_OCTETS),
        ("other", ctypes.c_char * _PATH_OCTETS),
    ]


class _CMount(ctypes.Structure):
    _fields_ = [
        ("path", ctypes.c_char * _PATH_OCTETS),
        ("flag", ctypes.c_uint32),
        ("unused", ctypes.c_uint32),
    ]


class _CLie(ctypes.Structure):
    _fields_ = [
        ("kinds", ctypes.c_uint32),
        ("unused", ctypes.c_uint32),
        ("part", ctypes.c_char * _NAME_OCTETS),
    ]


class _CControl(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_uint64) for name in ("clock", "count", "recorded", "fired", "at", "capacity")),
        *(
            (name, ctypes.c_uint32)
            for name in ("armed", "action", "forever", "after", "whole_group", "kinds", "frozen", "lying")
        ),
        ("error", ctypes.c_int32),
        ("uncut", ctypes.c_int32),
        ("program", ctypes.c_char * _NAME_OCTETS),
        ("only", ctypes.c_char * _NAME_OCTETS),
        ("watched", (ctypes.c_char * _PATH_OCTETS) * _PLACES),
        ("ignored", (ctypes.c_char * _NAME_OCTETS) * _PLACES),
        ("mounts", _CMount * _PLACES),
        ("lies", _CLie * _PLACES),
    ]


CONTROL_OCTETS = ctypes.sizeof(_CControl)
CALL_OCTETS = ctypes.sizeof(_CCall)


@functools.cache
def library() -> Path:
    """Compile shim.c, once per process; the folder goes with the process."""
    need("cc")
    folder = tempfile.TemporaryDirectory(prefix="lmtpd-shim-", ignore_cleanup_errors=True)
    _kept.enter_context(folder)
    path = Path(folder.name) / "shim.so"
    command = ["cc", "-O2", "-Wall", "-Wextra", "-Werror", "-fPIC", "-shared", "-fvisibility=hidden"]
    done = subprocess.run(
        [*command, "-o", path, SOURCE, "-ldl"], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, f"shim.c does not compile\n{done.stderr}"
    os.chmod(path.parent, 0o755)  # other users' programs load it
    return path


_kept = ExitStack()


class Shim:
    """One control file and whoever runs with `environment`; used as a context.

    Watch folders first, then `arm` at the right moment. `whole_group`: a kill or cut takes all processes of
    the caller's process group. `program`: only processes of that executable are seen.
    """

    def __init__(self, *, program: str = "", whole_group: bool = True) -> None:
        self._library = library()
        where = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
        self._folder = Path(tempfile.mkdtemp(prefix="lmtpd-control-", dir=where))
        self._folder.chmod(0o755)
        self._path = self._folder / "control"
        octets = CONTROL_OCTETS + CAPACITY * CALL_OCTETS
        with self._path.open("w+b") as file:
            file.truncate(octets)
            self._memory = mmap.mmap(file.fileno(), octets)
        self._path.chmod(0o666)  # deliverers run as somebody else
        self._control = _CControl.from_buffer(self._memory)
        self._control.capacity = CAPACITY
        self._control.whole_group = whole_group
        self._control.program = program.encode()

    def __enter__(self) -> "Shim":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        del self._control
        self._memory.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs to be seen, with all that it starts."""
        return {"LD_PRELOAD": str(self._library), "CRASH_CONTROL": str(self._path)}

    # ---- where and what -------------------------------------------------------------------------

    def watch(self, *folders: Path, ignoring: Sequence[str] = ()) -> None:
        """See the calls on everything below the folders, but for paths that have one of the texts in them.

        Sends to clients, over stream sockets, are seen always.
        """
        for place in range(_PLACES):
            folder = os.path.realpath(folders[place]) if place < len(folders) else ""
            self._control.watched[place].value = _fitting(folder, _PATH_OCTETS)
            ignored = ignoring[place] if place < len(ignoring) else ""
            self._control.ignored[place].value = _fitting(ignored, _NAME_OCTETS)

    def powered_by(self, mounts: Sequence[tuple[Path, Flush]]) -> None:
        """Name the file systems that lose their power in a cut, and what each still writes."""
        for place in range(_PLACES):
            path, flag = mounts[place] if place < len(mounts) else ("", Flush.NOTHING)
            self._control.mounts[place].path = _fitting(str(path), _PATH_OCTETS)
            self._control.mounts[place].flag = flag

    def pretend(self, *lies: tuple[Iterable[Kind], str]) -> None:
        """Let calls of those kinds, on paths with that text in them ("...$": at their end), succeed undone.

        At once and until changed, armed or not; it makes a broken build of any program.
        """
        self._control.lying = bool(lies)
        for place in range(_PLACES):
            kinds, part = lies[place] if place < len(lies) else ((), "")
            self._control.lies[place].kinds = _mask(kinds)
            self._control.lies[place].part = _fitting(part, _NAME_OCTETS)

    # ---- when -----------------------------------------------------------------------------------

    def arm(
        self,
        action: Action = Action.NONE,
        at: int = 0,
        *,
        error: int = 0,
        forever: bool = False,
        after: bool = False,
        kinds: Iterable[Kind] = EVERYTHING,
        only: str = "",
    ) -> None:
        """Begin to count and record, from 1; act at call number `at`, before it is done (or after).

        Only calls of `kinds` on paths with `only` in them ("...$": at their end) are counted; all that are
        seen are recorded.
        `forever`: at each later call as well.
        """
        self.disarm()
        self._forget()
        control = self._control
        control.action, control.at, control.error = action, at, error
        control.forever, control.after = forever, after
        control.kinds = _mask(kinds)
        control.only = _fitting(only, _NAME_OCTETS)
        control.armed = 1

    def disarm(self) -> None:
        """Close the window: nothing is counted, nothing more happens. What was recorded stays readable."""
        self._control.armed = 0
        self._control.action = Action.NONE

    def freeze(self) -> None:
        """Before a cut from outside: no process begins a call any more."""
        self._control.frozen = 1

    def thaw(self) -> None:
        """After a cut: let processes that are started from now on act again."""
        self._control.frozen = 0

    def _forget(self) -> None:
        used = min(self._control.recorded, CAPACITY)
        ctypes.memset(ctypes.addressof(self._control) + CONTROL_OCTETS, 0, used * CALL_OCTETS)
        self._control.clock = self._control.count = self._control.recorded = self._control.fired = 0
        self._control.uncut = 0

    @property
    def is_armed(self) -> bool:
        """Tell whether the window is open."""
        return bool(self._control.armed)

    # ---- what happened --------------------------------------------------------------------------

    @property
    def count(self) -> int:
        """How many calls were counted since `arm`."""
        return int(self._control.count)

    @property
    def fired(self) -> Call | None:
        """The call that was first acted on, or None."""
        assert not self._control.uncut, f"no power cut: {os.strerror(self._control.uncut)}"
        number = self._control.fired
        if not number:
            return None
        return next(call for call in self.calls() if call.number == number)

    def calls(self) -> list[Call]:
        """Return what was recorded since `arm`, in the order in which the calls began."""
        used = min(self._control.recorded, CAPACITY)
        raw = (_CCall * used).from_buffer_copy(self._memory, CONTROL_OCTETS)
        return sorted((_call(entry) for entry in raw if entry.begin), key=lambda call: call.begin)


def _call(raw: _CCall) -> Call:
    return Call(
        kind=Kind(raw.kind),
        number=raw.number,
        begin=raw.begin,
        end=raw.end or None,
        result=raw.result,
        error=raw.error,
        pid=raw.pid,
        tid=raw.tid,
        fd=raw.fd,
        flags=raw.flags,
        octets=raw.octets,
        path=raw.path.decode(errors="replace"),
        other=raw.other,
    )


def _mask(kinds: Iterable[Kind]) -> int:
    return sum(1 << kind for kind in set(kinds))


def _fitting(text: str, octets: int) -> bytes:
    data = text.encode()
    assert len(data) < octets, f"too long for the shim: {text}"
    return data
