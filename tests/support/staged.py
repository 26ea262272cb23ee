"""The real server with its clocks sped up, and workers that cannot start when the test says so.

`python -m tests.support.staged serve ...` is `lmtpd serve ...`, apart from what `StagedServer` asks for.
"""

import importlib
import json
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from lmtpd.__main__ import main
from lmtpd.cli import wiring
from lmtpd.config import Config
from lmtpd.delivery.service import Service
from lmtpd.server.errors import CannotStart
from tests.support.polling import wait_for
from tests.support.server import Server

SPEED = "LMTPD_TEST_SPEED"
CRASH_CODE = 3
_LISTENS, _CONNECTED = "00010000", "00000000"  # flags in /proc/net/unix


class StagedServer(Server):
    """`speed` sets constants of lmtpd.server, say {"worker.RETIRE_S": 0.2}; the other settings are Server's.

    With a file `refuse` in its folder, a worker cannot start and says why (the file's text); with a file
    `crash`, it dies at its start.
    """

    def __init__(
        self,
        folder: Path,
        *,
        speed: dict[str, float] | None = None,
        config: str = "",
        listen: Sequence[str] = ("unix",),
        flags: Sequence[str] = (),
        wrapper: Sequence[str] = (),
    ) -> None:
        hurry = {"stream.QUICK_S": 0.05} | (speed or {})
        environment = [f"{SPEED}={json.dumps(hurry)}", f"LMTPD_TEST_FOLDER={folder}"]
        super().__init__(
            folder, config=config, listen=listen, flags=flags, wrapper=["env", *environment, *wrapper]
        )
        self._command[self._command.index("lmtpd")] = "tests.support.staged"

    def __enter__(self) -> Self:
        super().__enter__()
        return self

    def start(self) -> None:
        """Start it and return once every worker serves."""
        before = self.log.count(" started ")
        super().start()
        try:
            self.wait_for_log(" started ", times=before + 1)
            count = len(re.findall(r' started .*workers="?([0-9 ]+)', self.log)[-1].split())
            # The watcher is forked last, and for a moment holds all that its parent does.
            wait_for(lambda: len(self.workers) <= count, "a watcher without listeners")
        except BaseException:
            self.kill()
            raise

    def refuse(self, why: str) -> None:
        """Let workers that start from now on say why they cannot."""
        (self.folder / "refuse").write_text(why)

    def crash(self) -> None:
        """Let workers that start from now on die."""
        (self.folder / "crash").touch()

    def recover(self) -> None:
        """Let workers start again."""
        for name in ("refuse", "crash"):
            (self.folder / name).unlink(missing_ok=True)

    @property
    def workers(self) -> list[int]:
        """The processes that accept connections, in the order of their birth."""
        # A watcher that was just forked still has the listeners, but only workers wait with epoll(7).
        return sorted(
            pid
            for pid in children_of(self.pid)
            if holds_listener(pid, self.folder) and "anon_inode:[eventpoll]" in open_files(pid)
        )

    def watchers(self) -> list[int]:
        """List the processes that watch the configuration file: children that have inotify(7) at work."""
        return [pid for pid in children_of(self.pid) if "anon_inode:inotify" in open_files(pid)]

    def wait_for_log(self, words: str, *, times: int = 1) -> None:
        """Wait until the log has the words so many times."""
        wait_for(lambda: self.log.count(words) >= times, f"{words!r}, {times} times, in the log")


def children_of(pid: int) -> list[int]:
    """List the direct children of a process, but for those that have ended."""
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(word) for word in text.split() if not is_zombie(int(word))]


def is_zombie(pid: int) -> bool:
    """Tell whether it has ended, waited for or not."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return True
    return text[text.rindex(")") + 2] == "Z"


def holds_listener(pid: int, folder: Path) -> bool:
    """Tell whether it has one of the listening sockets below folder open: a watcher has none."""
    return bool(unix_sockets(folder, flags=_LISTENS).intersection(open_files(pid)))


def accepted(pid: int, folder: Path) -> int:
    """Count the connections to unix sockets below folder that a process serves."""
    return len(unix_sockets(folder, flags=_CONNECTED).intersection(open_files(pid)))


def unix_sockets(folder: Path, *, flags: str) -> set[str]:
    """List the server's ends of unix sockets with a name below folder, as they show in /proc/PID/fd."""
    rows = [line.split() for line in Path("/proc/net/unix").read_text().splitlines()[1:]]
    return {
        f"socket:[{row[6]}]" for row in rows if row[3] == flags and row[7:] and row[7].startswith(str(folder))
    }


def open_files(pid: int) -> list[str]:
    """List what the descriptors of a process refer to."""
    try:
        entries = list(Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return []  # it has ended
    return [_target(entry) for entry in entries]


def _target(link: Path) -> str:
    try:
        return os.readlink(link)
    except OSError:
        return ""  # closed meanwhile


def _build(config: Config) -> Service:
    folder = Path(os.environ["LMTPD_TEST_FOLDER"])
    if (folder / "crash").exists():
        os._exit(CRASH_CODE)
    if (folder / "refuse").exists():
        raise CannotStart((folder / "refuse").read_text(), os.EX_TEMPFAIL)
    return wiring.build_service(config)


def _main() -> int:
    for name, value in json.loads(os.environ[SPEED]).items():
        module, _, constant = name.rpartition(".")
        loaded = importlib.import_module(f"lmtpd.server.{module}")
        assert hasattr(loaded, constant), name
        setattr(loaded, constant, value)
    # The seam of these tests: what the composition root hands to the supervisor.
    setattr(importlib.import_module("lmtpd.cli.serve"), "build_service", _build)  # noqa: B010 - not typed
    return main()


if __name__ == "__main__":
    sys.exit(_main())
