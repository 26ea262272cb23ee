"""File systems that lose their power: ext4 and XFS in image files, mounted, cut, and mounted again.

The cut is FS_IOC_SHUTDOWN without flushing: from that moment on nothing reaches the image any more, so the
next mount finds what a machine finds after a power failure: everything that was synced, and of the rest
only what the file system's journal had committed by itself.

Mounting takes loop devices and the right to mount; `need_mounts` skips, or fails under CI, without them.
The images lie in memory where there is room, which makes a cut, from mount to mount, a matter of 5 ms (ext4)
or 15 ms (XFS). Whatever happens to the test, nothing stays mounted: what a killed test leaves behind is
removed by the next one.
"""

import ctypes
import errno
import fcntl
import functools
import os
import re
import shutil
import struct
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.crash.shim import Flush
from tests.support.requirements import need, program

_IMAGE_OCTETS = {"ext4": 64 << 20, "xfs": 300 << 20}  # sparse; XFS wants no less
_MAKE = {
    # Without lazy initialisation: nothing may write behind our back.
    "ext4": ["mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0"],
    "xfs": ["mkfs.xfs", "-q", "-f"],
}
FILE_SYSTEMS = tuple(_MAKE)

_FS_IOC_SHUTDOWN = 0x8004587D
_LOOP_CTL_GET_FREE = 0x4C82
_LOOP_CONFIGURE = 0x4C0A
_LO_FLAGS_AUTOCLEAR = 4  # the device is free again once it is unmounted
_MNT_DETACH = 2
_PREFIX = "lmtpd-mounts-"
_ROOM_OCTETS = 1 << 30

_libc = ctypes.CDLL(None, use_errno=True)


def need_mounts(*file_systems: str) -> None:
    """Skip the test, or fail it under CI=true, unless those file systems can be made and mounted here."""
    need("root", "loop device", *(_MAKE[name][0] for name in file_systems))
    reason = _why_not()
    if reason is None:
        return
    if os.environ.get("CI") == "true":
        pytest.fail(f"needs to mount a loop device: {reason}; under CI nothing may be missing", pytrace=False)
    pytest.skip(f"needs to mount a loop device: {reason}")


class Mounted:
    """One file system at `path`. Everything raises OSError when the kernel refuses."""

    def __init__(self, folder: Path, file_system: str) -> None:
        self.file_system = file_system
        self.path = folder / "root"
        self._image = folder / "image"
        self.path.mkdir(parents=True)
        with self._image.open("wb") as file:
            file.truncate(_IMAGE_OCTETS[file_system])
        maker, *flags = _MAKE[file_system]
        subprocess.run([program(maker), *flags, self._image], check=True, capture_output=True, timeout=60)
        self.mount()

    def mount(self) -> None:
        """Mount it, after a cut with what was saved. Proves that it can be written."""
        # A new device each time: an old one would bring the dead file system back to life if anybody,
        # in another mount namespace, still held it.
        device, fd = _attach(self._image)
        try:
            _mount(device, self.path, self.file_system)
        finally:
            os.close(fd)
        probe = self.path / ".probe"
        probe.touch()
        probe.unlink()

    def cut(self, flush: Flush = Flush.NOTHING) -> None:
        """Take its power. May be called when it is already gone."""
        try:
            fd = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
            try:
                fcntl.ioctl(fd, _FS_IOC_SHUTDOWN, struct.pack("I", flush))
            finally:
                os.close(fd)
        except OSError as exc:
            if exc.errno != errno.EIO:  # what a dead file system answers
                raise

    def unmount(self, *, detach: bool = False) -> None:
        """Unmount it; what was cut before is lost then."""
        if _libc.umount2(os.fsencode(self.path), _MNT_DETACH if detach else 0):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(self.path))

    def power_up(self) -> None:
        """After a cut, and once no process uses it: unmount and mount again."""
        self.unmount()
        self.mount()


@contextmanager
def mounted(*file_systems: str) -> Iterator[list[Mounted]]:
    """Make and mount a fresh file system of each kind named; several of one kind are fine."""
    need_mounts(*file_systems)
    _sweep()
    folder = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-", dir=roomy_folder()))
    folder.chmod(0o755)
    made: list[Mounted] = []
    try:
        for number, name in enumerate(file_systems):
            made.append(Mounted(folder / f"{number}-{name}", name))
        yield made
    finally:
        _remove(folder)


# ---- removal ----------------------------------------------------------------------------------------


def _remove(folder: Path) -> None:
    """Unmount everything below the folder, and delete it."""
    for path in _mounts_below(folder):
        if _libc.umount2(os.fsencode(path), 0):
            _libc.umount2(os.fsencode(path), _MNT_DETACH)  # somebody is still in there
    shutil.rmtree(folder, ignore_errors=True)


def _sweep() -> None:
    """Remove what tests left that were killed."""
    for parent in {roomy_folder(), Path(tempfile.gettempdir())}:
        for folder in parent.glob(f"{_PREFIX}*-*"):
            pid = folder.name.removeprefix(_PREFIX).partition("-")[0]
            if pid.isdigit() and not Path(f"/proc/{pid}").exists():
                _remove(folder)


def _mounts_below(folder: Path) -> list[Path]:
    lines = Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()
    places = [re.sub(r"\\(\d{3})", lambda octal: chr(int(octal[1], 8)), line.split()[1]) for line in lines]
    return [Path(place) for place in reversed(places) if place.startswith(f"{folder}/")]


def roomy_folder() -> Path:
    """Return a folder in memory, or else the usual one for temporary files."""
    memory = Path("/dev/shm")
    with suppress(OSError):
        if os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > _ROOM_OCTETS:
            return memory
    return Path(tempfile.gettempdir())


# ---- system calls -----------------------------------------------------------------------------------


@functools.cache
def _why_not() -> str | None:
    """Try it once: containers may have the devices and still forbid mounting."""
    folder = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-", dir=roomy_folder()))
    try:
        Mounted(folder / "trial", "ext4").unmount()
    except OSError as exc:
        return str(exc)
    finally:
        _remove(folder)
    return None


def _attach(image: Path) -> tuple[str, int]:
    """Attach the image to a free loop device; return its path, and a descriptor that keeps it attached."""
    config = struct.pack("=II", 0, 0) + _loop_info() + bytes(64)
    image_fd = os.open(image, os.O_RDWR)
    try:
        config = struct.pack("=I", image_fd) + config[4:]
        give_up = time.monotonic() + 10
        while True:
            device = f"/dev/loop{_free_number()}"
            try:
                fd = os.open(device, os.O_RDWR)
            except OSError:
                if time.monotonic() > give_up:
                    raise
                time.sleep(0.002)  # the node of a new device is being made
                continue
            try:
                fcntl.ioctl(fd, _LOOP_CONFIGURE, config)
            except OSError as exc:
                os.close(fd)
                if exc.errno != errno.EBUSY or time.monotonic() > give_up:
                    raise  # else somebody else took that device in this moment
            else:
                return device, fd
    finally:
        os.close(image_fd)


def _loop_info() -> bytes:
    """struct loop_info64: only the flags matter."""
    return bytes(5 * 8 + 3 * 4) + struct.pack("=I", _LO_FLAGS_AUTOCLEAR) + bytes(64 + 64 + 32 + 16)


def _free_number() -> int:
    control = os.open("/dev/loop-control", os.O_RDWR)
    try:
        return fcntl.ioctl(control, _LOOP_CTL_GET_FREE)
    finally:
        os.close(control)


def _mount(device: str, where: Path, file_system: str) -> None:
    if _libc.mount(device.encode(), os.fsencode(where), file_system.encode(), 0, None):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), f"{device} on {where}")
