"""Child processes of the supervisor: made, spoken to, and told what becomes of them.

The rule: the end of the control socket between parent and child tells each that the other is no more, so no
other child may hold a copy of it.
"""

import os
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol

HANDLED = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR2, signal.SIGCHLD})


READY = b"ready"  # what a child says once it does its work; anything else is why it cannot


@dataclass(slots=True, eq=False)
class Child:
    """A child process, as the supervisor knows it."""

    pid: int
    control: socket.socket
    born_at: float = field(default_factory=time.monotonic)
    is_ready: bool = False
    is_silent: bool = False  # its end of the control socket is closed
    last_words: str = ""

    def tell(self, message: bytes) -> None:
        """Send a message; a child that has ended, or does not listen, is found out otherwise."""
        with suppress(OSError):
            self.control.send(message, socket.MSG_DONTWAIT)

    def hear(self) -> bool:
        """Take in one message, without waiting; False if there was none."""
        try:
            message = self.control.recv(4096, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except OSError:
            message = b""
        if message == READY:
            self.is_ready = True
        elif message:
            self.last_words = message.decode(errors="replace")
        else:
            self.is_silent = True
        return bool(message)

    def exit_code(self) -> int | None:
        """Return the exit code, negative for a signal, once it has ended; never waits."""
        pid, status = os.waitpid(self.pid, os.WNOHANG)
        return os.waitstatus_to_exitcode(status) if pid else None

    def end(self, number: signal.Signals) -> None:
        """Send it a signal. Only while it has not been waited for: until then its process id is its own."""
        os.kill(self.pid, number)

    def kill(self) -> None:
        """End it at once, as end() does."""
        self.end(signal.SIGKILL)


class Closable(Protocol):
    """A socket, a lock."""

    def close(self) -> None:
        """Give up this process's hold on it."""


def spawn(main: Callable[[socket.socket], int], *, inherited: Iterable[Closable]) -> Child:
    """Fork; the child runs main with its end of the control socket, and ends with main's result.

    inherited: what the child must not keep, the control sockets of the others above all. OSError if
    there can be no further process.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    # A signal for the child must not run the parent's handlers in it.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, HANDLED)
    try:
        pid = os.fork()
        if pid == 0:
            ours.close()
            for each in inherited:
                each.close()
            _live(main, theirs, mask=before)
    except OSError:
        ours.close()
        raise
    finally:
        theirs.close()
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return Child(pid, ours)


def _live(main: Callable[[socket.socket], int], control: socket.socket, *, mask: Iterable[int]) -> None:
    """Be the child; never returns, for the stack below is the parent's."""
    code = os.EX_SOFTWARE
    try:
        signal.set_wakeup_fd(-1)
        # Ctrl-C and a terminal's hang-up reach the whole process group; the supervisor tells what to do.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        # `systemctl kill` sends it to all unless told otherwise.
        signal.signal(signal.SIGUSR2, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        code = main(control)
    except BaseException:  # noqa: BLE001 nobody above may see it: that would be the parent's code
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
