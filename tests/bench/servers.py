"""The servers that are measured: lmtpd, and Dovecot LMTP set up to do the same work.

Each gets a folder of its own with its socket, Maildirs, state and log; nothing is shared with the machine's
own mail.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.bench.measuring import family
from tests.support.polling import wait_for
from tests.support.requirements import ROOT, program

DOMAIN = "bench.example"
READY_S = 60.0
STOP_S = 30.0
WORKERS = 2
# Owns Dovecot's Maildirs: Dovecot does nothing as root, and every Debian has this user and group.
OWNER = "mail"


@dataclass(slots=True)
class Server:
    """A server that runs inside the `with` block."""

    name: str
    folder: Path
    command: list[str]
    socket: Path
    mail: Path  # the Maildir of user@DOMAIN is mail/DOMAIN/user
    wrapper: list[str] = field(default_factory=list)  # e.g. strace
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    def __enter__(self) -> "Server":
        self.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """The main process."""
        assert self._process is not None, "not started"
        return self._process.pid

    @property
    def log(self) -> str:
        """The end of what it wrote to its log."""
        path = self.folder / "log"
        return path.read_text(errors="replace")[-3000:] if path.exists() else ""

    def start(self) -> None:
        """Start it and return once it greets with 220."""
        with (self.folder / "log").open("ab") as log:
            # A process group of its own: whatever it forks can be ended, and nothing else.
            self._process = subprocess.Popen(
                [*self.wrapper, *self.command],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            wait_for(self._greets, f"220 from {self.name}", deadline_s=READY_S)
        except BaseException as exc:
            exc.add_note(f"--- log of {self.name}\n{self.log}")
            self.stop()
            raise

    def stop(self) -> None:
        """End it, by force if it must be, and everything it forked."""
        if self._process is None:
            return
        members = family(self._process.pid)
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        finally:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process = None
        # The next measurement begins only when nothing of this server is at work any more.
        wait_for(lambda: not any(_is_alive(pid) for pid in members), f"the end of {self.name}")

    def _greets(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise RuntimeError(f"{self.name} ended at start with exit code {self._process.returncode}")
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(10)
                connection.connect(str(self.socket))
                return connection.recv(4096).startswith(b"220")
        except OSError:
            return False


def _is_alive(pid: int) -> bool:
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False


# ---- lmtpd ----------------------------------------------------------------------------------------

LISTENER = """\
[[listen]]
unix = "{socket}"
mode = "0666"
"""


def lmtpd(folder: Path, *, settings: Mapping[str, str] | None = None) -> Server:
    """Set up lmtpd as it comes, everything on; `settings` go to --set."""
    folder.mkdir(parents=True)
    mail = folder / "mail"
    mail.mkdir()
    # By file and not by flag, so that Postfix, which is another user, may connect.
    config = folder / "lmtpd.toml"
    config.write_text(LISTENER.format(socket=folder / "s"))
    command = [sys.executable, "-m", "lmtpd", "serve", "--config", str(config)]
    command += ["--mailboxes", f"{mail}/{{domain}}/{{user}}", "--create"]
    command += ["--state", str(folder / "state"), "--workers", str(WORKERS)]
    for key, value in (settings or {}).items():
        command += ["--set", f"{key}={value}"]
    return Server("lmtpd", folder, command, folder / "s", mail)


def is_lmtpd_ready() -> bool:
    """Tell whether this checkout has a server that can be started."""
    command = [sys.executable, "-m", "lmtpd", "serve", "--help"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, check=False, timeout=60).returncode == 0


# ---- a server that stores nothing -----------------------------------------------------------------


def sink(folder: Path) -> Server:
    """Set up Postfix's smtp-sink(1), which takes every message and forgets it."""
    folder.mkdir(parents=True)
    command = [program("smtp-sink"), "-L", "-u", "postfix", f"unix:{folder / 's'}", "1000"]
    return Server("smtp-sink", folder, command, folder / "s", folder / "none")


# ---- Dovecot --------------------------------------------------------------------------------------

# Tuned in its favour where it does not change the work: processes are there before the load comes and are
# used again and again; one system user, so that no process changes its user for a delivery; no plugin, no
# debugging. mail_fsync is Dovecot's default: a delivery syncs its file and its directory.
DOVECOT_CONF = """\
base_dir = {folder}/run
state_dir = {folder}/state
log_path = {folder}/dovecot.log
protocols = lmtp
ssl = no
default_internal_user = dovecot
default_login_user = dovenull
auth_username_format = %Lu
first_valid_uid = 1
first_valid_gid = 1
mail_fsync = optimized
mail_location = maildir:{mail}/%d/%n
mail_plugins =

passdb {{
  driver = static
  args = password=unused
}}
userdb {{
  driver = static
  args = uid={owner} gid={owner} home={mail}/%d/%n allow_all_users=yes
}}
protocol lmtp {{
  postmaster_address = postmaster@{domain}
  mail_plugins =
}}
service lmtp {{
  chroot =
  user = {owner}
  client_limit = 1
  service_count = 0
  process_min_avail = {ready}
  process_limit = {limit}
  vsz_limit = 1G
  unix_listener {socket} {{
    mode = 0666
  }}
}}
service auth {{
  client_limit = 8192
  unix_listener auth-userdb {{
    mode = 0666
  }}
}}
service anvil {{
  chroot =
  client_limit = 8192
}}
service stats {{
  chroot =
  client_limit = 8192
  unix_listener stats-writer {{
    mode = 0666
  }}
}}
"""


def dovecot(folder: Path, *, ready: int = 32, room: int = 100) -> Server:
    """Set up Dovecot's LMTP server with so many processes ready, one for a connection, and room for more."""
    folder.mkdir(parents=True)
    mail = folder / "mail"
    for path in (mail, folder / "run", folder / "state"):
        path.mkdir()
        shutil.chown(path, OWNER, OWNER)
    config = folder / "dovecot.conf"
    config.write_text(
        DOVECOT_CONF.format(
            folder=folder,
            mail=mail,
            owner=OWNER,
            domain=DOMAIN,
            socket=folder / "s",
            ready=ready,
            limit=ready + room,
        )
    )
    return Server("Dovecot", folder, [program("dovecot"), "-F", "-c", str(config)], folder / "s", mail)
