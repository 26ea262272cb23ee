"""A private Dovecot: LMTP and IMAP on unix sockets over Maildirs of its own or of the server under test."""

import imaplib
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.support.polling import wait_for
from tests.support.postfix import public_folder
from tests.support.requirements import need, program

PASSWORD = "secret"
# Owns the Maildirs: Dovecot does nothing as root, and every Debian has this user and group.
OWNER = "mail"

CONFIG = """\
base_dir = {run}
state_dir = {state}
log_path = {log}
protocols = lmtp imap
ssl = no
disable_plaintext_auth = no
default_internal_user = dovecot
default_login_user = dovenull
auth_username_format = %Lu
first_valid_uid = 1
first_valid_gid = 1
mail_fsync = always
mail_location = maildir:{maildir}:LAYOUT={layout}:INDEX={index}/%u
recipient_delimiter = +
lmtp_save_to_detail_mailbox = no

passdb {{
  {passdb}
}}
userdb {{
  {userdb}
}}
namespace inbox {{
  inbox = yes
}}
protocol lmtp {{
  postmaster_address = postmaster@example.org
}}
service lmtp {{
  chroot =
  process_min_avail = 1
  unix_listener {lmtp} {{
    mode = 0666
  }}
}}
service imap-login {{
  chroot =
  inet_listener imap {{
    port = 0
  }}
  inet_listener imaps {{
    port = 0
  }}
  unix_listener {imap} {{
    mode = 0666
  }}
}}
service stats {{
  chroot =
}}
service anvil {{
  chroot =
}}
"""


def who(mail: Path, home: Path, users: Path | None = None) -> dict[str, str]:
    """Fill CONFIG's places for who exists, and where his Maildir is: everybody, or those of a passwd-file."""
    if users is not None:
        file = f"driver = passwd-file\n  args = {users}"
        return {"passdb": file, "userdb": file, "maildir": "~/Maildir"}
    ids = f"uid={OWNER} gid={OWNER} home={home}/%u allow_all_users=yes"
    return {
        "passdb": f"driver = static\n  args = password={PASSWORD}",
        "userdb": f"driver = static\n  args = {ids}",
        "maildir": f"{mail}/%d/%n",
    }


class Dovecot:
    """A running instance; see `dovecot` for how to get one."""

    def __init__(
        self, folder: Path, mail: Path, layout: str = "maildir++", *, users: Path | None = None
    ) -> None:
        """users: a passwd-file; without, everybody exists and has a mailbox below mail."""
        self.folder = folder
        self._users = users
        self.layout = layout
        self.mail = mail
        self.lmtp_socket = folder / "lmtp"
        self.imap_socket = folder / "imap"
        self.log_file = folder / "log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it in the foreground and wait for both sockets."""
        paths = {name: self.folder / name for name in ("run", "state", "index", "home")}
        for path in paths.values():
            path.mkdir()
            shutil.chown(path, OWNER, OWNER)
        config = self.folder / "dovecot.conf"
        config.write_text(
            CONFIG.format(
                **paths,
                log=self.log_file,
                **who(self.mail, paths["home"], self._users),
                layout=self.layout,
                lmtp=self.lmtp_socket,
                imap=self.imap_socket,
            )
        )
        command = [program("dovecot"), "-F", "-c", str(config)]
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
        for path in (self.lmtp_socket, self.imap_socket):
            wait_for(lambda path=path: self._answers(path), f"an answer on {path}")  # type: ignore[misc]

    def _answers(self, path: Path) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, f"Dovecot ended\n{self.log}"
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(10)
                connection.connect(str(path))
                return bool(connection.recv(1))
        except OSError:
            return False

    def stop(self) -> None:
        """End it and everything it started."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(10)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(5)

    @property
    def log(self) -> str:
        """The whole log so far."""
        return self.log_file.read_text(errors="replace") if self.log_file.exists() else ""

    def imap(self, user: str) -> imaplib.IMAP4:
        """Log in as user@domain; the caller logs out."""
        client = _UnixImap(self.imap_socket)
        client.login(user, PASSWORD)
        return client


class _UnixImap(imaplib.IMAP4):
    """IMAP over a unix socket."""

    def __init__(self, path: Path) -> None:
        self._path = path
        super().__init__(timeout=20)

    def _create_socket(self, timeout: float | None) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(timeout)
        connection.connect(str(self._path))
        return connection


@contextmanager
def dovecot(mail: Path, layout: str = "maildir++", *, users: Path | None = None) -> Iterator[Dovecot]:
    """Run a Dovecot whose users' Maildirs are `mail`/DOMAIN/USER, all of them belonging to OWNER.

    With users, a passwd-file, they are those in it, and their Maildirs at home.
    """
    need("root", "dovecot")
    with public_folder("dovecot") as folder:
        instance = Dovecot(folder, mail, layout, users=users)
        try:
            instance.start()
            yield instance
        except BaseException as exc:
            exc.add_note(f"--- Dovecot's log\n{instance.log[-3000:]}")
            raise
        finally:
            instance.stop()
