"""Dovecot finds the folders that deliveries made, in both layouts, with both ways to write their names."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.dovecot import OWNER
from tests.support.postfix import public_folder
from tests.support.requirements import need, program
from tests.support.server import Server

pytestmark = [pytest.mark.system, pytest.mark.xdist_group("dovecot")]

LAYOUTS = {
    "pp7.example": ("maildir++", "utf-7", ""),
    "pp8.example": ("maildir++", "utf-8", ":UTF-8"),
    "fs7.example": ("fs", "utf-7", ":LAYOUT=fs"),
    "fs8.example": ("fs", "utf-8", ":LAYOUT=fs:UTF-8"),
}
BODY = b"Subject: x\r\n\r\n"
CONFIG = f"""\
[server]
run_as = "{OWNER}"
[mailboxes]
detail = "create"
subscribe = true
""" + "".join(
    f'[domains."{domain}"]\nlayout = "{layout}"\nfolder_names = "{names}"\n'
    for domain, (layout, names, _) in LAYOUTS.items()
)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    need("root", "dovecot", "doveadm")
    with public_folder("folders") as folder:
        for path in (folder / "mail", folder / "state"):
            path.mkdir()
            shutil.chown(path, OWNER, OWNER)
        with Server(folder, config=CONFIG) as server:
            yield server


@pytest.mark.parametrize("domain", LAYOUTS)
def test_folders_of_deliveries_are_dovecots_folders(server: Server, tmp_path: Path, domain: str):
    with server.client() as client:
        for detail in ("Lists.Python", "Gr\u00fc\u00dfe & mehr.\u65e5\u672c"):
            recipient = f'"alice+{detail}"@{domain}'
            (reply,) = client.deliver("s@example.org", [recipient], BODY, parameters="SMTPUTF8")
            assert reply.code == 250

    wanted = {"INBOX", "Lists/Python", "Gr\u00fc\u00dfe & mehr/\u65e5\u672c"}
    assert wanted <= listed(server.mail / domain / "alice", LAYOUTS[domain][2], tmp_path)
    assert wanted - {"INBOX"} == listed(server.mail / domain / "alice", LAYOUTS[domain][2], tmp_path, "-s")


def listed(maildir: Path, options: str, tmp_path: Path, *flags: str) -> set[str]:
    """What doveadm shows of the mailbox, with "/" between the levels."""
    config = tmp_path / "dovecot.conf"
    config.write_text(
        f"""
        log_path = {tmp_path}/log
        mail_location = maildir:{maildir}{options}:INDEX=MEMORY
        mail_uid = {OWNER}
        mail_gid = {OWNER}
        first_valid_uid = 1
        first_valid_gid = 1
        userdb {{
          driver = static
          args = home=/nonexistent allow_all_users=yes
        }}
        namespace inbox {{
          inbox = yes
          separator = /
        }}
        """
    )
    command = [program("doveadm"), "-c", str(config), "mailbox", "list", *flags]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False,
                          env={"USER": OWNER, "PATH": "/usr/bin:/bin"})  # fmt: skip
    assert done.returncode == 0, done.stderr
    return set(done.stdout.splitlines())
