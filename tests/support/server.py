"""The real server as a subprocess: `python -m lmtpd serve`, started, watched and ended within bounds."""

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import TracebackType

from tests.support.lmtp_client import LmtpClient
from tests.support.polling import PATIENCE, wait_for
from tests.support.requirements import ROOT

READY_S = 20.0 * PATIENCE
STOP_S = 15.0 * PATIENCE  # draining may take 10 s


class ServerFailed(AssertionError):
    """The server ended, or did not come up, where it should be serving."""


class Server:
    """One server with its socket, Maildirs, state and log below `folder`; serving inside the `with` block.

    `program`: a module that is lmtpd in the end, with what comes before "serve". Give `config` (TOML) for
    what flags cannot say; its own listeners count where `listen` is empty. A traceback in the log fails the
    block: whatever the peer did, it is a bug of ours.
    """

    def __init__(
        self,
        folder: Path,
        *,
        flags: Sequence[str] = (),
        config: str = "",
        listen: Sequence[str] = ("unix",),
        create: bool = True,
        wrapper: Sequence[str] = (),
        program: Sequence[str] = ("lmtpd",),
        environment: Mapping[str, str] | None = None,
        pass_fds: Sequence[int] = (),
    ) -> None:
        self.folder = folder
        self.mail = folder / "mail"
        self.state = folder / "state"
        self.log_file = folder / "lmtpd.log"
        self.addresses = [self._address(kind) for kind in listen]
        self.traceback_is_fine = False
        self._wrapper = list(wrapper)
        self._pass_fds = list(pass_fds)
        self._environment = {**os.environ, **(environment or {})}
        self._process: subprocess.Popen[bytes] | None = None
        self._command = [sys.executable, "-m", *program, "serve"]
        for address in self.addresses:
            self._command += ["--listen", address]
        self._command += ["--mailboxes", f"{self.mail}/{{domain}}/{{user}}", "--state", str(self.state)]
        if create:
            self._command.append("--create")
        if config:
            (folder / "lmtpd.toml").write_text(config)
            self._command += ["--config", str(folder / "lmtpd.toml")]
            if not listen:
                paths = re.findall(r'^unix = "(.*)"', config, re.MULTILINE)
                self.addresses = [f"unix:{path}" for path in paths]
        self._command += flags

    def _address(self, kind: str) -> str:
        """Turn "unix" or "tcp" into an address of our own; take any other as it is."""
        if kind == "unix":
            return f"unix:{self.folder / 'lmtpd.sock'}"
        return f"tcp:127.0.0.1:{free_port()}" if kind == "tcp" else kind

    # ---- life -----------------------------------------------------------------------------------

    def __enter__(self) -> "Server":
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self._process is not None:
                code = self.stop()
                assert error is not None or code == 0, f"exit code {code} after SIGTERM\n{self.log}"
        finally:
            self.kill()
        if error is None and not self.traceback_is_fine:
            assert "Traceback (most recent call last)" not in self.log, self.log
        if error is not None:
            error.add_note(f"--- log of the server\n{self.log[-4000:]}")

    def start(self) -> None:
        """Start it and return once every listener greets with 220."""
        self.mail.mkdir(parents=True, exist_ok=True)
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(
                [*self._wrapper, *self._command],
                cwd=ROOT,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=self._pass_fds,
                # A process group of its own: whatever the server forks can be ended, and nothing else.
                start_new_session=True,
            )
        try:
            for address in self.addresses:
                wait_for(partial(self._greets, address), f"220 on {address}", deadline_s=READY_S)
        except BaseException as exc:
            exc.add_note(f"--- log of the server\n{self.log[-4000:]}")
            self.kill()
            raise

    def stop(self) -> int:
        """Send SIGTERM; return the exit code. No process of the server may be left then."""
        process = self._running()
        process.send_signal(signal.SIGTERM)
        try:
            code = process.wait(STOP_S)
            wait_for(self._is_gone, "the end of all workers", deadline_s=5)
        finally:
            self.kill()
        return code

    def kill(self) -> None:
        """SIGKILL the server and its workers at once, as a crash of the machine would end them."""
        if self._process is None:
            return
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(STOP_S)
        self._process = None

    def restart(self) -> None:
        """Stop in order and start again on the same folder."""
        code = self.stop()
        assert code == 0, f"exit code {code} after SIGTERM"
        self.start()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the main process."""
        self._running().send_signal(number)

    def reload(self) -> None:
        """Send SIGHUP and return when the log tells of the reload."""
        before = self.log.lower().count("reload")
        self.signal(signal.SIGHUP)
        wait_for(lambda: self.log.lower().count("reload") > before, "a log line about the reload")

    # ---- looking at it --------------------------------------------------------------------------

    @property
    def pid(self) -> int:
        """The main process (the wrapper's, where there is one)."""
        return self._running().pid

    @property
    def log(self) -> str:
        """Everything it wrote to standard output and standard error so far."""
        return self.log_file.read_text(errors="replace") if self.log_file.exists() else ""

    def maildir(self, address: str) -> Path:
        """Return where the mail of user@domain lies."""
        user, _, domain = address.rpartition("@")
        return self.mail / domain / user

    def connect(self, place: int = 0, *, timeout_s: float = 15.0) -> LmtpClient:
        """Connect to the listener at that place; nothing is read yet."""
        return LmtpClient.connect(self.addresses[place], timeout_s=timeout_s)

    def client(self, place: int = 0, *, timeout_s: float = 15.0) -> LmtpClient:
        """Connect, read the greeting and say LHLO."""
        return self.connect(place, timeout_s=timeout_s).greet()

    def _greets(self, address: str) -> bool:
        if (code := self._running().poll()) is not None:
            raise ServerFailed(f"exit code {code} at start")
        try:
            with LmtpClient.connect(address, timeout_s=5) as client:
                return client.reply().code == 220
        except OSError:
            return False

    def _is_gone(self) -> bool:
        try:
            os.killpg(self._running().pid, 0)
        except ProcessLookupError:
            return True
        return False

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise ServerFailed("the server was not started")
        return self._process


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
