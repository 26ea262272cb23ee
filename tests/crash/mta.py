"""A private Postfix that delivers with virtual(8), and the SMTP client that feeds it, to be crashed too.

What counts as acknowledged is what counts for a sender: the 250 of smtpd. From there on the message lies in
Postfix's queue until virtual(8) has delivered it; the queue is Postfix's answer to a ledger.
"""

import os
import pwd
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from tests.crash.account import Attempt, Sent
from tests.crash.agents import OWNER, START_S, Failed, wait_for_end_of_group, wait_until_connected
from tests.crash.client import Behind, Client
from tests.crash.oracle import LedgerCheck, Mailboxes
from tests.crash.scenes import make_durable
from tests.crash.shim import Shim
from tests.support.lmtp_client import LmtpClient
from tests.support.polling import wait_for
from tests.support.postfix import MAIN_CF, MASTER_CF
from tests.support.requirements import program
from tests.support.server import free_port

# What virtual(8) puts on top, and smtpd's Received line.
HEADER = re.compile(
    rb"Return-Path: [^\n]*\nX-Original-To: [^\n]*\nDelivered-To: (?P<to>[^\n]*)\n"
    rb"Received: [^\n]*\n(?:[ \t][^\n]*\n)*"
)
_QUEUE = (
    *("active", "bounce", "corrupt", "defer", "deferred", "flush", "hold", "incoming"),
    *("maildrop", "pid", "private", "public", "saved", "trace"),
)
_STATES = ("maildrop", "incoming", "active", "deferred")


class VirtualPostfix:
    """Postfix with its queue in `queue`, Maildirs in `mail`, everything else in `folder`."""

    def __init__(
        self, shim: Shim, *, folder: Path, mail: Path, queue: Path, addresses: Iterable[str]
    ) -> None:
        self._shim = shim
        self._config = folder / "etc"
        self._data = folder / "data"
        self._log = folder / "log"
        self._mail = mail
        self._queue = queue
        self._addresses = list(addresses)
        self._port = free_port()
        self.address = f"tcp:127.0.0.1:{self._port}"
        self.mailboxes = Mailboxes(root=mail, header=HEADER, owner=pwd.getpwnam(OWNER).pw_uid)
        self.ledger: LedgerCheck | None = None
        self.stores_before_reply = False
        self._process: subprocess.Popen[bytes] | None = None

    def client(self, patience_s: float) -> Client:
        """Return a client that speaks SMTP and waits until its mail has left the queue."""
        return SmtpClient(self, timeout_s=patience_s)

    # ---- life -----------------------------------------------------------------------------------

    def start(self, client: Client) -> None:
        """Start it in the foreground; returns when the client is connected."""
        client.drop()
        if not self._config.exists():
            self._set_up()
        # Not by postfix(1), whose checks take seconds, and which cannot be killed together with its master.
        master = Path(self._run("postconf", "-h", "daemon_directory").strip()) / "master"
        self._process = subprocess.Popen(
            [master, "-c", str(self._config), "-s"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        wait_until_connected(client, self)

    def _set_up(self) -> None:
        for path in (self._config, self._data, self._queue):
            path.mkdir()
        shutil.chown(self._data, "postfix", "postfix")
        shutil.chown(self._mail, OWNER, OWNER)
        make_durable(self._mail)
        owner = pwd.getpwnam(OWNER)
        mailboxes = self._config / "mailboxes"
        mailboxes.write_text("".join(f"{name} {_place(name)}/\n" for name in self._addresses))
        shim = " ".join(f"{name}={value}" for name, value in self._shim.environment.items())
        settings = {
            **MAIN_CF,
            "queue_directory": str(self._queue),
            "data_directory": str(self._data),
            "maillog_file": str(self._log),
            "maillog_file_prefixes": str(self._log.parent),
            "virtual_transport": "virtual",
            "message_size_limit": "10240000",  # the file systems are small
            "virtual_mailbox_base": str(self._mail),
            "virtual_mailbox_maps": f"texthash:{mailboxes}",
            "virtual_uid_maps": f"static:{owner.pw_uid}",
            "virtual_gid_maps": f"static:{owner.pw_gid}",
            "virtual_minimum_uid": "1",
            # Postfix clears the environment of what it starts.
            "import_environment": f"MAIL_CONFIG MAIL_LOGTAG TZ LANG=C {shim}",
            # No waiting after a crash of virtual(8).
            "service_throttle_time": "1s",
            "transport_retry_time": "1s",
        }
        (self._config / "main.cf").write_text(
            "".join(f"{key} = {value}\n" for key, value in settings.items())
        )
        master = MASTER_CF.format(port=f"127.0.0.1:{self._port}") + "virtual unix - n n - - virtual\n"
        (self._config / "master.cf").write_text(master)
        for path in self._config.iterdir():
            # Postfix does not trust a file that may still be being written, and waits for two seconds.
            os.utime(path, (time.time() - 60,) * 2)
        self._make_queue()

    def _make_queue(self) -> None:
        """Do what `postfix check` does, which takes two seconds for it."""
        for name in _QUEUE:
            path = self._queue / name
            path.mkdir(mode=0o700)
            shutil.chown(path, "postfix", "root")
        for name, mode in (("public", 0o710), ("maildrop", 0o1730)):
            shutil.chown(self._queue / name, "postfix", "postdrop")
            (self._queue / name).chmod(mode)
        shutil.chown(self._queue / "pid", "root", "root")
        (self._queue / "pid").chmod(0o755)

    def kill(self) -> None:
        """SIGKILL everything of it."""
        if self._process is None:
            return
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._wait()

    def stop(self) -> None:
        """Wait until everything is delivered, then end it in order."""
        assert self._process is not None
        self.flush()
        wait_for(self.is_idle, "an empty queue", deadline_s=90.0)
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGTERM)
        self._wait()

    def _wait(self) -> None:
        assert self._process is not None
        self._process.wait(START_S)
        wait_for_end_of_group(self._process.pid)
        self._process = None

    def is_running(self) -> bool:
        """Tell whether it runs."""
        return self._process is not None and self._process.poll() is None

    # ---- its queue ------------------------------------------------------------------------------

    def is_idle(self) -> bool:
        """Tell whether nothing is queued; twice, as a message may move from one place to another."""
        try:
            return not (self._queued() or self._queued())
        except OSError:  # its disk has no power
            return False

    def has_crashed(self) -> bool:
        """Tell whether the crash of this window has come."""
        return self._shim.is_armed and self._shim.fired is not None

    def flush(self) -> None:
        """Try everything that waits now."""
        self._run("postqueue", "-f")

    def _queued(self) -> list[Path]:
        return [path for state in _STATES for path in (self._queue / state).rglob("*") if path.is_file()]

    def _run(self, name: str, *arguments: str) -> str:
        command = [program(name), "-c", str(self._config), *arguments]
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
        if done.returncode:
            raise Failed(f"{command}: {done.stderr}")
        return done.stdout

    def log(self) -> str:
        """Return its log so far."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""


class SmtpClient(Client):
    """Speaks SMTP: one reply to the end of a message speaks for all its recipients."""

    def __init__(self, agent: VirtualPostfix, *, timeout_s: float) -> None:
        super().__init__(agent.address, timeout_s=timeout_s)
        self._agent = agent

    def send(self, sent: Sent, behind: Behind = Behind.QUIT, *, chunk_octets: int | None = None) -> Attempt:
        """Submit the message, and wait until Postfix has delivered it, or the crash has come."""
        attempt = super().send(sent, behind, chunk_octets=chunk_octets)
        give_up = time.monotonic() + self.timeout_s
        while not (self._agent.is_idle() or self._agent.has_crashed() or time.monotonic() > give_up):
            time.sleep(0.002)
        return attempt

    def _greet(self, connection: LmtpClient) -> None:
        if connection.reply().code != 220:
            raise Failed("smtpd does not greet")
        offers = connection.command("EHLO client.example.org").lines[1:]
        connection.capabilities = dict.fromkeys((line.partition(" ")[0] for line in offers), "")

    def _read_final_replies(self, sent: Sent, attempt: Attempt) -> None:
        code = self._open.reply().code
        for place, reply in attempt.replies.items():
            if reply is None:
                attempt.replies[place] = code


def _place(address: str) -> str:
    user, _, domain = address.partition("@")
    return f"{domain}/{user}"
