"""An alias with three mailboxes, killed at the calls that matter: the retry leaves one copy in each."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.requirements import ROOT, need, program

pytestmark = [pytest.mark.crash, pytest.mark.xdist_group("alias_kills")]

MEMBERS = ("a", "b", "c")
ALIASES = 'aliases={ "all@example.org" = ["a@example.org", "b@example.org", "c@example.org"] }'


def deliver(folder: Path, body: bytes, *, kill_at: tuple[str, int] | None = None) -> int:
    command = [
        *(sys.executable, "-m", "lmtpd", "deliver", "--to", "all@example.org", "--from", "s@example.net"),
        *("--mailboxes", f"{folder}/mail/{{domain}}/{{user}}", "--state", f"{folder}/state"),
        *("--set", "mailboxes.create=true", "--set", ALIASES),
    ]
    if kill_at is not None:
        call, number = kill_at
        rule = f"inject={call}:signal=SIGKILL:when={number}"
        command = [
            program("strace"),
            "-f",
            "-qq",
            "-o",
            os.devnull,
            "-e",
            f"trace={call}",
            "-e",
            rule,
            *command,
        ]
    return subprocess.run(command, input=body, cwd=ROOT, check=False, timeout=120).returncode


def counts(folder: Path) -> list[int]:
    return [len(list((folder / f"mail/example.org/{member}/new").glob("*"))) for member in MEMBERS]


@pytest.mark.parametrize(
    "call, number, stored",
    [
        ("fdatasync", 3, [0, 0, 0]),
        ("renameat2", 2, [1, 0, 0]),
        ("renameat2", 3, [1, 1, 0]),
    ],
)
def test_the_retry_of_a_killed_delivery_leaves_one_copy_in_each_mailbox(
    tmp_path: Path, call: str, number: int, stored: list[int]
):
    need("ptrace")
    for name in ("mail", "state"):
        (tmp_path / name).mkdir()
    assert deliver(tmp_path, b"Subject: first\n\nmakes the mailboxes\n") == os.EX_OK

    assert deliver(tmp_path, b"Subject: x\n\nbody\n", kill_at=(call, number)) != os.EX_OK
    assert counts(tmp_path) == [1 + each for each in stored]

    assert deliver(tmp_path, b"Subject: x\n\nbody\n") == os.EX_OK
    assert counts(tmp_path) == [2, 2, 2]
    assert not list((tmp_path / "mail").rglob("tmp/*"))
