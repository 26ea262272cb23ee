"""Holes of other servers in what they did as root, or in directories of others. In comments: their CVEs."""

import os
import pwd
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bench.measuring import family
from tests.hostile.inprocess import InProcess
from tests.hostile.watched_disk import WatchedDisk
from tests.support.lmtp_client import LmtpClient
from tests.support.maildirs import files, leftovers, only_message
from tests.support.polling import wait_for
from tests.support.postfix import public_folder
from tests.support.requirements import ROOT, need
from tests.support.server import Server
from tests.support.services import make_service

pytestmark = [pytest.mark.system, pytest.mark.slow]

OWNER = "mail"  # on every Debian
USER = "a@example.org"
BODY = b"Subject: x\r\n\r\nx\r\n"
SECRET = b"nobody's mail\n"


# ---- after the start as root ------------------------------------------------------------------------


@pytest.fixture
def server() -> Iterator[Server]:
    need("root")
    with public_folder("privileges") as folder:
        (folder / "mail").mkdir()
        shutil.chown(folder / "mail", OWNER, OWNER)
        with Server(folder, config=f'[server]\nrun_as = "{OWNER}"\n') as server:
            yield server


def _states(server: Server) -> Iterator[dict[str, list[str]]]:
    """What the kernel says of each thread of each process."""
    for pid in family(server.pid):
        for status in Path(f"/proc/{pid}/task").glob("*/status"):
            lines = status.read_text(encoding="ascii").splitlines()
            yield {name: values.split() for name, _, values in (line.partition(":") for line in lines)}


# Stalwart CVE-2024-35179, maildrop CVE-2010-0301: what was given up at the start was not all of it
def test_no_thread_keeps_anything_of_root(server: Server):
    owner = pwd.getpwnam(OWNER)
    groups = sorted(os.getgrouplist(OWNER, owner.pw_gid))
    with server.client() as client:
        client.deliver("s@example.org", [USER], BODY)

        states = list(_states(server))

    assert len(states) > 4  # supervisor, workers, their threads
    for state in states:
        assert state["Uid"] == [str(owner.pw_uid)] * 4, "real, effective, saved, for files"
        assert state["Gid"] == [str(owner.pw_gid)] * 4
        assert sorted(map(int, state["Groups"])) == groups
        for kind in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
            assert int(state[kind][0], 16) == 0, kind
    stored = only_message(server.maildir(USER)).path.stat()
    assert (stored.st_uid, stored.st_gid, stored.st_mode & 0o7777) == (owner.pw_uid, owner.pw_gid, 0o600)


# mailutils CVE-2019-18862: a set-uid program that opened whatever file its caller named
@pytest.mark.parametrize("ids", ["os.setresuid(65534, 0, 0)", "os.setresgid(65534, 0, 0)"])
@pytest.mark.parametrize("module", ["lmtpd", "scripts"])
def test_no_command_runs_set_uid_or_set_gid(ids: str, module: str, tmp_path: Path):
    need("root")
    (tmp_path / "secret.toml").write_text("root's own words")
    run = {
        "lmtpd": "lmtpd.__main__.main(['check', '--config', 'secret.toml'])",
        "scripts": "lmtpd.__main__.run_command(click.Command('x', callback=print), 'x', [])",
    }[module]
    program = f"import os, sys, click, lmtpd.__main__; os.chdir({str(tmp_path)!r}); {ids}; sys.exit({run})"

    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert done.returncode == os.EX_NOPERM
    assert "set-uid" in done.stderr
    assert "words" not in done.stderr + done.stdout


# ---- links where a file is about to be --------------------------------------------------------------


# OpenSMTPD (Qualys 2015), Exim CVE-2020-28007: a file of somebody else behind the name that is written to
@pytest.mark.parametrize("kind", ["hard link", "symbolic link"])
@pytest.mark.parametrize("call", ["create", "rename_exclusive"])
def test_a_name_that_is_taken_by_a_link_is_not_written_to(folder_in_memory: Path, call: str, kind: str):
    outside = folder_in_memory / "outside"
    outside.write_bytes(SECRET)
    disk = WatchedDisk()
    planted: list[Path] = []
    service = make_service(folder_in_memory, disk=disk)

    def before(name: str, path: str) -> None:
        if name == call and not planted:
            planted.append(Path(path))
            if kind == "hard link":
                os.link(outside, path)
            else:
                os.symlink(outside, path)

    with (
        InProcess(service, folder_in_memory) as inside,
        LmtpClient.connect(inside.address).greet() as client,
    ):
        assert client.deliver("s@example.org", [USER], BODY)[0].code == 250  # the mailbox is made
        disk.victim, disk.before = "example.org", before
        codes = [client.deliver("s@example.org", [USER], BODY)[0].code for _ in range(2)]
        disk.victim = ""
    service.close()

    assert codes[1] == 250  # the next attempt, whatever became of the first
    assert codes[0] in (250, 451)
    assert planted
    assert planted[0].samefile(outside), "what the owner put there is left alone"
    assert outside.read_bytes() == SECRET
    mine = [path for path in files(folder_in_memory / "mail/example.org/a") if path != planted[0]]
    assert len(mine) == 1 + codes.count(250)


# Exim CVE-2020-28008: recovery that trusts what lies there under a name it knows
@pytest.mark.parametrize("kind", ["hard link", "symbolic link", "directory"])
def test_recovery_touches_nothing_behind_a_name_it_knows(folder_in_memory: Path, kind: str):
    outside = folder_in_memory / "outside"
    outside.write_bytes(SECRET)
    with Server(folder_in_memory, flags=["--workers", "1"]) as server:
        maildir = server.maildir(USER)
        client = server.client()
        assert client.deliver("s@example.org", [USER], BODY)[0].code == 250
        client.envelope("s@example.org", [USER])
        client.command("DATA")
        client.send((b"x" * 70 + b"\r\n") * 5_000)  # more than is kept in memory
        wait_for(lambda: leftovers(maildir), "a file in tmp/")
        server.kill()
        client.close()
        (left,) = leftovers(maildir)
        left.unlink()
        if kind == "hard link":
            os.link(outside, left)
        elif kind == "symbolic link":
            left.symlink_to(outside)
        else:
            left.mkdir()
        server.start()
        with server.client() as again:
            assert again.deliver("s@example.org", [USER], BODY + b"again\r\n")[0].code == 250

        assert outside.read_bytes() == SECRET
        assert len(files(maildir)) == 2
