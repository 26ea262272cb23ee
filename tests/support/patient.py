"""What `lmtpd doctor` looks at: a server, a Postfix configuration that leads to it, and mailboxes."""

import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from lmtpd.__main__ import main
from tests.support.postfix import MAIN_CF as POSTFIX_CF
from tests.support.postfix import MASTER_CF, public_folder
from tests.support.requirements import SEARCH_PATH, need
from tests.support.server import Server
from tests.support.site import CONFIG, MAIN_CF

USER = "mail"  # on every Debian


class Patient:
    """A server, a Postfix configuration beside it that leads to it, and mailboxes."""

    def __init__(self, folder: Path, server: Server) -> None:
        self.folder = folder
        self.server = server
        self.queue = folder / "queue"
        self.etc = folder / "etc"
        self.config = folder / "lmtpd.toml"

    @property
    def socket(self) -> Path:
        """Where the server listens."""
        return self.queue / "private" / "lmtpd"

    def examine(self, *flags: str) -> list[dict[str, str]]:
        """Run doctor; return what it found, the worst first."""
        settle(self.etc)
        arguments = [
            "doctor",
            "--config",
            str(self.config),
            "--postfix-config",
            str(self.etc),
            "--json",
            *flags,
        ]
        with pytest.MonkeyPatch.context() as patch:
            printed: list[str] = []
            patch.setattr("click.echo", lambda text, **_: printed.append(text))
            self.code = main(arguments)
        found: list[dict[str, str]] = json.loads(printed[0])["findings"]
        return found

    def only(self, *flags: str) -> dict[str, str]:
        """Run doctor, which finds one thing."""
        (finding,) = self.examine(*flags)
        return finding

    def mailbox(self, address: str) -> Path:
        """Make a mailbox of the server's user."""
        path = self.server.maildir(address)
        for each in (path.parent, path):
            each.mkdir(exist_ok=True)
            shutil.chown(each, USER, USER)
        return path


def write_postfix(etc: Path, queue: Path, **settings: str) -> None:
    """Write the configuration that README tells, with other settings."""
    etc.mkdir(exist_ok=True)
    values = {
        **POSTFIX_CF,
        **MAIN_CF,
        "message_size_limit": "50000000",
        "queue_directory": str(queue),
        "data_directory": str(queue),
        **settings,
    }
    (etc / "main.cf").write_text("".join(f"{name} = {value}\n" for name, value in values.items()))
    (etc / "master.cf").write_text(MASTER_CF.format(port="127.0.0.1:1"))
    settle(etc)


def settle(etc: Path) -> None:
    """Postfix's programs wait for a file that was changed this second; these are complete."""
    for name in ("main.cf", "master.cf"):
        os.utime(etc / name, (time.time() - 60,) * 2)


@contextmanager
def healthy(
    *, environment: Mapping[str, str] | None = None, wrapper: Sequence[str] = ()
) -> Iterator[Patient]:
    """Run a server that has nothing wrong around it."""
    need("root", "postfix")
    with public_folder("doctor") as folder:
        for name in ("queue", "queue/private", "mail", "state"):
            (folder / name).mkdir()
        shutil.chown(folder / "queue" / "private", "postfix", "root")
        (folder / "queue" / "private").chmod(0o700)
        for name in ("mail", "state"):
            shutil.chown(folder / name, USER, USER)
        config = (
            f'state = "{folder}/state"\n{CONFIG.format(socket=folder / "queue/private/lmtpd")}'
            f'[server]\nrun_as = "{USER}"\nconnections = 200\n'
            f'[mailboxes]\npath = "{folder}/mail/{{domain}}/{{user}}"\n'
        )
        write_postfix(folder / "etc", folder / "queue")
        server = Server(
            folder, config=config, listen=(), create=False, environment=environment, wrapper=wrapper
        )
        patient = Patient(folder, server)
        patient.mailbox("postmaster@mx.example.org")
        with server:
            yield patient


def run(line: str) -> None:
    """Run a line as an administrator does."""
    subprocess.run(line, shell=True, check=True, env={**os.environ, "PATH": SEARCH_PATH}, timeout=60)


def as_flags(line: str) -> list[str]:
    """Make of a line of the configuration what --set takes."""
    found = re.fullmatch(r"(.*?)   # \[(\w+)\] in .*", line)
    assert found, line
    key, _, value = found[1].partition(" = ")
    return ["--set", f"{found[2]}.{key}={value}"]
