"""Dovecot's quota plugin over Maildirs of our own, driven through doveadm: nothing runs between two calls."""

import shutil
import subprocess
from pathlib import Path

from storage.quota_limit import Usage
from tests.support.dovecot import OWNER
from tests.support.quotas import make_maildir
from tests.support.requirements import program

CONFIG = """\
base_dir = {folder}/run
state_dir = {folder}/state
log_path = {folder}/log
protocols =
ssl = no
first_valid_uid = 1
first_valid_gid = 1
mail_location = maildir:{folder}/mail/%u
mail_plugins = quota
default_internal_user = dovecot
default_login_user = dovenull
lda_mailbox_autocreate = yes
namespace inbox {{
  inbox = yes
}}
plugin {{
  quota = maildir:User quota
  quota_rule = *:storage=1M
  quota_grace = 0
}}
"""


class DovecotQuota:
    """A configuration with a limit of a megabyte for everybody."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("run", "state", "home", "mail"):
            (folder / name).mkdir()
            shutil.chown(folder / name, OWNER, OWNER)
        self.config = folder / "dovecot.conf"
        self.config.write_text(CONFIG.format(folder=folder, owner=OWNER))

    def mailbox(self, user: str) -> "DovecotMailbox":
        """Make an empty mailbox."""
        make_maildir(self.folder / "mail" / user)
        mailbox = DovecotMailbox(self, user)
        mailbox.own()
        return mailbox


class DovecotMailbox:
    """One user's mailbox as Dovecot sees it."""

    def __init__(self, server: DovecotQuota, user: str) -> None:
        self.path = server.folder / "mail" / user
        self._server = server
        self._user = user

    def own(self) -> None:
        """Give everything in it to its owner: the test, which runs as root, has put something there."""
        for path in (self.path, *self.path.rglob("*")):
            shutil.chown(path, OWNER, OWNER)

    def save(self, folder: str, message: bytes, *, fails: bool = False) -> str:
        """Store a message as an IMAP client would; return what Dovecot says."""
        if folder != "INBOX":
            self._doveadm("mailbox", "create", folder, fails=None)
        return self._doveadm("save", "-m", folder, stdin=message, fails=fails)

    def expunge(self, folder: str) -> None:
        """Delete all messages of a folder."""
        self._doveadm("expunge", "mailbox", folder, "all")

    def recalculate(self) -> None:
        """Count anew."""
        self._doveadm("quota", "recalc")

    def usage(self) -> Usage:
        """Return what Dovecot believes to be used, to the octet."""
        found: dict[str, int] = {}
        for line in self._doveadm("-f", "tab", "quota", "get").splitlines():
            fields = line.split("\t")
            if fields[1] in ("STORAGE", "MESSAGE"):
                found[fields[1]] = int(fields[2])
        # STORAGE is in KiB, rounded: its own file is exact.
        lines = (self.path / "maildirsize").read_text().splitlines()[1:]
        octets = sum(int(line.split()[0]) for line in lines)
        assert found["STORAGE"] in (octets // 1024, octets // 1024 + 1), (found, lines)
        return Usage(octets, found["MESSAGE"])

    def _doveadm(self, *arguments: str, stdin: bytes = b"", fails: bool | None = False) -> str:
        # As the user himself: with "-u" it would ask an auth process, and none runs.
        done = subprocess.run(
            [program("doveadm"), "-c", str(self._server.config), *arguments],
            input=stdin,
            capture_output=True,
            check=False,
            timeout=60,
            user=OWNER,
            group=OWNER,
            extra_groups=[],
            env={"USER": self._user, "HOME": str(self._server.folder / "home" / self._user)},
        )
        text = (done.stdout + done.stderr).decode()
        assert fails is None or (done.returncode != 0) is fails, text
        return text
