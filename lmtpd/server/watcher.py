"""A small process that sees the configuration file change and sends the supervisor SIGHUP.

The rule: threads (watchdog's) and forks do not go together, so neither the supervisor, which forks, nor a
worker, which may be gone tomorrow, watches anything.
"""

import os
import select
import signal
import socket
from pathlib import Path

from lmtpd.config import Config
from lmtpd.server.attendants import Main
from storage.watch import DirectoryWatch

QUIET_S = 0.3  # an editor writes, renames and sets modes: one reload for all of it
LOOK_S = 30.0  # unasked: a link's target, or a network file system, sends no notice

Fingerprint = tuple[int, int, int, int]


def watcher_of(config: Config) -> Main | None:
    """Return what the watcher's process runs; None: there is no file."""
    file = config.file
    if file is None:
        return None

    def watch(control: socket.socket) -> int:
        watch_config(file, control, supervisor=os.getppid())
        return os.EX_OK

    return watch


def watch_config(file: Path, control: socket.socket, *, supervisor: int) -> None:
    """Send SIGHUP to the supervisor whenever file is another one than before, until control ends.

    The directory is watched, since editors put a new file in the place of the old one.
    """
    with DirectoryWatch(file.parent) as watch:
        known = _fingerprint(file)
        poll = select.poll()
        poll.register(control, select.POLLIN)
        poll.register(watch, select.POLLIN)
        while _wait(poll, control, LOOK_S * 1000):
            watch.take()
            if _fingerprint(file) in (known, None):
                continue
            while _has_more(poll, control, watch):
                watch.take()
            found = _fingerprint(file)
            if found not in (known, None) and os.getppid() == supervisor:
                known = found
                os.kill(supervisor, signal.SIGHUP)


def _wait(poll: select.poll, control: socket.socket, timeout_ms: float) -> bool:
    """Sleep until something may have changed; False when the supervisor has ended."""
    return not any(fd == control.fileno() for fd, _ in poll.poll(timeout_ms))


def _has_more(poll: select.poll, control: socket.socket, watch: DirectoryWatch) -> bool:
    ready = {fd for fd, _ in poll.poll(QUIET_S * 1000)}
    return watch.fileno() in ready and control.fileno() not in ready


def _fingerprint(file: Path) -> Fingerprint | None:
    """Tell one content of the file from another, without reading it; None while there is no file."""
    try:
        found = os.stat(file)
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size
