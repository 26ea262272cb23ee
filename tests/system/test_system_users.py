"""Users as other programs know them: the machine's own, and those of a file that Dovecot reads, too."""

import json
import os
import pwd
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.dovecot import OWNER, PASSWORD, dovecot
from tests.support.imap_view import view
from tests.support.postfix import public_folder
from tests.support.requirements import ROOT, need, program
from tests.support.server import Server

# Who changes /etc/passwd must be alone.
pytestmark = [pytest.mark.system, pytest.mark.serial, pytest.mark.xdist_group("system_users")]

NAMES = ("lmtpd-test-a", "lmtpd-test-b")
CREATE = ("--set", "mailboxes.create=true")
OWNERS = '[server]\nrun_as = "recipient"\nworkers = 1\n[[recipients]]\nsource = "passwd"\n'
BODY = b"Subject: x\r\n\r\nhello\r\n"


@contextmanager
def users(homes: Path) -> Iterator[None]:
    """Two users of this machine, with homes below a folder."""
    need("root", "useradd")
    made = []
    try:
        for name in NAMES:
            subprocess.run(
                [program("useradd"), "--create-home", "--home-dir", homes / name, name],
                check=True,
                capture_output=True,
            )
            made.append(name)
        yield
    finally:
        for name in made:
            subprocess.run([program("userdel"), name], check=True, capture_output=True)


def deliver(server: Server, *recipients: str) -> list[int]:
    with server.client() as client:
        codes = [reply.code for reply in client.deliver("s@example.net", recipients, BODY)]
        client.quit()
    return codes


def explain(server: Server, address: str) -> dict[str, object]:
    command = [sys.executable, "-m", "lmtpd", "explain", address, "--json"]
    command += ["--config", str(server.folder / "lmtpd.toml"), "--state", str(server.state)]
    result = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    answer: dict[str, object] = json.loads(result.stdout)
    return answer


def test_the_machines_users_get_their_mail_at_home():
    with public_folder("users") as folder:
        homes = folder / "home"
        homes.mkdir()
        homes.chmod(0o755)
        with users(homes), Server(folder, config=OWNERS, create=False, flags=CREATE) as server:
            told = explain(server, f"{NAMES[0]}@example.org")
            codes = deliver(server, *(f"{name}@example.org" for name in NAMES))
            with server.client() as client:
                client.command("MAIL FROM:<s@example.net>")
                strangers = [
                    client.command(f"RCPT TO:<{who}@example.org>").code for who in ("daemon", "lmtpd-test-c")
                ]
                client.quit()

            assert codes == [250, 250]
            assert strangers == [550, 550]
            for name in NAMES:
                entry = pwd.getpwnam(name)
                (message,) = (homes / name / "Maildir/new").iterdir()
                assert (message.stat().st_uid, message.stat().st_gid) == (entry.pw_uid, entry.pw_gid)
                assert message.stat().st_mode & 0o077 == 0
            assert f"{homes}/{NAMES[0]}/Maildir" in json.dumps(told)
            assert "250" in json.dumps(told["reply"])
            shown = subprocess.run(
                [sys.executable, "-c", "import sys; from scripts.quota import main; sys.exit(main())",
                 "--all", "--json", "--config", folder / "lmtpd.toml"],
                capture_output=True, text=True, cwd=ROOT, check=True,
            )  # fmt: skip
            found = {fact["user"]: fact["messages"] for fact in map(json.loads, shown.stdout.splitlines())}
            assert {name: found[name] for name in NAMES} == dict.fromkeys(NAMES, 1)


def test_dovecot_and_we_read_one_file_of_users_alike():
    need("root", "dovecot")
    with public_folder("one-file") as folder:
        for path in (folder / "mail", folder / "mail/alice", folder / "mail/bob", folder / "state"):
            path.mkdir()
            shutil.chown(path, OWNER, OWNER)
        entry = pwd.getpwnam(OWNER)
        lines = [
            f"{name}:{{PLAIN}}{PASSWORD}:{entry.pw_uid}:{entry.pw_gid}::{folder}/mail/{home}::{more}\n"
            for name, home, more in (
                ("alice@example.org", "alice", "userdb_quota_rule=*:storage=2G"),
                ("bob", "bob", ""),
            )
        ]
        (folder / "users").write_text("".join(["# name, password, ids, gecos, home, shell, more\n", *lines]))
        # Who is missing from a file that was written this second is told to come again.
        os.utime(folder / "users", (time.time() - 60,) * 2)
        config = f'[server]\nrun_as = "{OWNER}"\n[[recipients]]\nsource = "file"\nfile = "{folder}/users"\n'
        server = Server(folder, config=config, flags=CREATE, create=False)
        with server, dovecot(folder / "mail", users=folder / "users") as reader:
            assert deliver(server, "alice@example.org", "bob@example.net") == [250, 250]
            for name in ("alice@example.org", "bob"):
                client = reader.imap(name)
                _, messages = view(client)
                client.logout()
                assert [each.subject for each in messages.values()] == ["x"]
            assert deliver(server, "carol@example.org") == [550]
            assert "2G" in json.dumps(explain(server, "alice@example.org"))
