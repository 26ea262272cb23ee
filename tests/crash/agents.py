"""The servers that can be crashed: lmtpd, the stand-in, Dovecot. All are started, killed and asked alike."""

import os
import pwd
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from tests.crash.books import check_ledger
from tests.crash.client import Client
from tests.crash.nursery import Nursery
from tests.crash.oracle import LedgerCheck, Mailboxes
from tests.crash.scenes import make_durable
from tests.crash.shim import Shim
from tests.support import dovecot
from tests.support.polling import PATIENCE
from tests.support.requirements import program

START_S = 20.0 * PATIENCE
OWNER = dovecot.OWNER
"""The user that the mailboxes of Dovecot and Postfix belong to."""


class Failed(AssertionError):
    """The server ended, or did not come up, where it should be serving."""


class Agent(Protocol):
    """A server whose mail lies below `mail`; one life after another on the same folders."""

    address: str
    mailboxes: Mailboxes
    ledger: LedgerCheck | None
    stores_before_reply: bool
    """Not so for one that puts mail into a queue of its own: what it has acknowledged may come later."""

    def client(self, patience_s: float) -> Client:
        """Return a client for it, not connected."""

    def start(self, client: Client) -> None:
        """Start it; returns when the client is connected."""

    def kill(self) -> None:
        """SIGKILL all of it, if it is not dead already; returns when nothing is left."""

    def stop(self) -> None:
        """End it in order."""

    def log(self) -> str:
        """Return what it wrote to its log."""


class Startable(Protocol):
    """What waiting for a server takes."""

    def is_running(self) -> bool:
        """Tell whether its main process is there."""

    def log(self) -> str:
        """Return what it wrote to its log."""


class Forked:
    """lmtpd or the stand-in, forked from a nursery that has imported it.

    `folder` holds socket and log: outside of everything that loses its power.
    """

    def __init__(
        self,
        nursery: Nursery,
        module: str,
        *,
        folder: Path,
        mail: Path,
        state: Path,
        flags: Sequence[str] = (),
    ) -> None:
        self._nursery = nursery
        self._module = module
        self._log = folder / "log"
        self.address = f"unix:{folder / 'socket'}"
        self.mailboxes = Mailboxes(root=mail)
        self.stores_before_reply = True
        self.ledger = check_ledger(state / "ledger.db") if module == "lmtpd" else None
        self._arguments = ["serve", "--listen", self.address, "--mailboxes", f"{mail}/{{domain}}/{{user}}"]
        self._arguments += ["--create", "--state", str(state), "--workers", "1", *flags]
        self._pid: int | None = None

    def client(self, patience_s: float) -> Client:
        """Return a client for it, not connected."""
        return Client(self.address, timeout_s=patience_s)

    def start(self, client: Client) -> None:
        """Fork it; returns when the client is connected."""
        client.drop()
        self._pid = self._nursery.start(self._module, self._arguments, log=self._log)
        wait_until_connected(client, self)

    def kill(self) -> None:
        """SIGKILL its process group."""
        if self._pid is not None:
            self._nursery.kill(self._pid)
            self._pid = None

    def stop(self) -> None:
        """SIGTERM, as an administrator does; lmtpd ends with 0, the stand-in knows nothing better."""
        assert self._pid is not None
        os.kill(self._pid, signal.SIGTERM)
        code = self._nursery.wait(self._pid)
        self._pid = None
        if code not in {0, -signal.SIGTERM if self._module != "lmtpd" else 0}:
            raise Failed(f"exit code {code} after SIGTERM\n{self.log()}")

    def is_running(self) -> bool:
        """Tell whether the main process is there; one that has ended waits for the nursery to ask."""
        with suppress(OSError):
            state = Path(f"/proc/{self._pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
            return state != "Z"
        return False

    def log(self) -> str:
        """Return its log so far."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""


class Dovecot:
    """Dovecot's LMTP server with the shim in it."""

    def __init__(self, shim: Shim, *, folder: Path, mail: Path) -> None:
        self._shim = shim
        self._folder = folder
        self._log = folder / "log"
        self._mail = mail
        self.address = f"unix:{folder / 'lmtp'}"
        self.mailboxes = Mailboxes(root=mail, owner=pwd.getpwnam(OWNER).pw_uid)
        self.ledger: LedgerCheck | None = None
        self.stores_before_reply = True
        self._process: subprocess.Popen[bytes] | None = None

    def client(self, patience_s: float) -> Client:
        """Return a client for it, not connected."""
        return Client(self.address, timeout_s=patience_s)

    def start(self, client: Client) -> None:
        """Start it in the foreground; returns when the client is connected."""
        client.drop()
        config = self._folder / "dovecot.conf"
        if not config.exists():
            shutil.chown(self._mail, OWNER, OWNER)
            make_durable(self._mail)
            config.write_text(self._configuration())
        self._process = subprocess.Popen(
            [program("dovecot"), "-F", "-c", str(config)],
            stdin=subprocess.DEVNULL,
            env={**os.environ, **self._shim.environment},
            start_new_session=True,
        )
        wait_until_connected(client, self)

    def _configuration(self) -> str:
        paths = {name: self._folder / name for name in ("run", "state", "index", "home")}
        for path in paths.values():
            path.mkdir()
            shutil.chown(path, OWNER, OWNER)
        text = dovecot.CONFIG.format(
            **paths,
            log=self._log,
            **dovecot.who(self._mail, paths["home"]),
            lmtp=self._folder / "lmtp",
            imap=self._folder / "imap",
            layout="maildir++",
        )
        # Dovecot's master clears the environment of what it starts.
        kept = " ".join(f"{name}={value}" for name, value in self._shim.environment.items())
        return f"{text}\nimport_environment = $import_environment {kept}\n"

    def kill(self) -> None:
        """SIGKILL everything of it."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._wait()

    def stop(self) -> None:
        """SIGTERM to its master, which ends the others."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        self._wait()

    def _wait(self) -> None:
        assert self._process is not None
        self._process.wait(START_S)
        wait_for_end_of_group(self._process.pid)
        self._process = None

    def is_running(self) -> bool:
        """Tell whether its master process is there."""
        return self._process is not None and self._process.poll() is None

    def log(self) -> str:
        """Return its log so far."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""


def wait_until_connected(client: Client, agent: Startable) -> None:
    """Return when the client is connected to the server, which is coming up."""
    give_up = time.monotonic() + START_S
    while not client.connect():
        if not agent.is_running() or time.monotonic() > give_up:
            raise Failed(f"does not serve\n{agent.log()[-4000:]}")
        time.sleep(0.001)


def wait_for_end_of_group(group: int) -> None:
    """Return when no process of the group is alive; somebody else may be slow to ask how they ended."""
    give_up = time.monotonic() + START_S
    while _lives(group):
        if time.monotonic() > give_up:
            raise Failed(f"process group {group} does not end")
        time.sleep(0.001)


def _lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    for path in Path("/proc").glob("[1-9]*/stat"):
        with suppress(OSError):
            state, _, its_group = path.read_text(encoding="utf-8").rpartition(")")[2].split()[:3]
            if int(its_group) == group and state not in "ZX":
                return True
    return False
