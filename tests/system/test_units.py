"""The units of `lmtpd init`: what systemd says of them, and that the server can live within them."""

import os
import re
import shlex
import shutil
import socket
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from lmtpd.__main__ import main
from tests.support import maildirs
from tests.support.activation import HeldSockets
from tests.support.postfix import public_folder
from tests.support.requirements import need, program
from tests.support.server import Server

pytestmark = pytest.mark.system

BODY = b"x" * 300_000 + b"\r\n"  # goes through the spool
OWNER = "mail"  # on every Debian
SERVICES = ["lmtpd", "lmtpd-clean", "lmtpd-expire", "lmtpd-web"]
EXECUTABLE = re.compile(r"(?:mmap|mprotect|pkey_mprotect)\(.*PROT_EXEC")


@pytest.fixture(scope="module")
def units(tmp_path_factory) -> Path:
    folder: Path = tmp_path_factory.mktemp("units")
    assert main(["init", str(folder), "--keep", "My Trash=30d", "--web"]) == os.EX_OK
    return folder / "etc/systemd/system"


def analyze(units: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    need("systemd-analyze")
    command = [program("systemd-analyze"), *arguments]
    environment = {**os.environ, "SYSTEMD_UNIT_PATH": f"{units}:", "LC_ALL": "C.UTF-8"}
    return subprocess.run(
        command, cwd=units, env=environment, capture_output=True, text=True, timeout=60, check=False
    )


def test_systemd_finds_nothing_wrong(units):
    names = sorted(path.name for path in units.iterdir())

    done = analyze(units, "verify", "--man=no", *(f"./{name}" for name in names))

    assert len(names) == 7
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@pytest.mark.parametrize("name", SERVICES)
def test_exposure_is_under_1(units, name):
    done = analyze(units, "security", "--offline=true", "--no-pager", f"./{name}.service")

    found = re.search(r"Overall exposure level for \S+: ([0-9.]+) ", done.stdout)
    assert found, done.stdout + done.stderr
    assert float(found[1]) < 1.0, done.stdout


@pytest.mark.parametrize("name", SERVICES)
def test_every_program_is_there(units, name):
    (line,) = re.findall(r"^ExecStart=(\S+)", (units / f"{name}.service").read_text(), re.MULTILINE)

    assert os.access(line, os.X_OK)


def test_the_server_runs_with_that_configuration_on_a_socket_of_systemd(units, tmp_path):
    config = (units.parents[1] / "lmtpd/lmtpd.toml").read_text()
    with socket.socket(socket.AF_UNIX) as unix, closing(HeldSockets([unix])) as held:
        unix.bind(str(tmp_path / "lmtpd.sock"))
        unix.listen()
        server = Server(
            tmp_path, listen=(), config=config, create=False, wrapper=held.wrapper, pass_fds=held.fds
        )
        server.addresses = [f"unix:{tmp_path}/lmtpd.sock"]
        server.maildir("b@example.org").mkdir(parents=True)
        with server, server.client() as client:
            (reply,) = client.deliver("a@example.org", ["b@example.org"], BODY)
            client.quit()

    assert reply.code == 250
    # sd-daemon(3): the priority in front, and the time is the journal's.
    assert re.match(r"<[0-7]>[a-z_]+ ", server.log)


@pytest.mark.parametrize("name", ["lmtpd-clean", "lmtpd-expire"])
def test_what_runs_every_night_does(units, tmp_path, name):
    (line,) = re.findall(r"^ExecStart=(.*)", (units / f"{name}.service").read_text(), re.MULTILINE)
    (tmp_path / "lmtpd.toml").write_text(
        f'state = "{tmp_path}/state"\n[mailboxes]\npath = "{tmp_path}/mail/{{domain}}/{{user}}"\n'
    )
    maildir = tmp_path / "mail/example.org/bob"
    for folder in ("tmp", "new", "cur", ".My Trash/new", ".My Trash/cur", ".My Trash/tmp"):
        (maildir / folder).mkdir(parents=True)
    left, old = maildir / "tmp/1.left.behind", maildir / ".My Trash/cur/1000000000.M1P1Q1R1.host:2,S"
    for path in (left, old):
        path.write_text("Subject: x\n\n")
        os.utime(path, (1_000_000_000, 1_000_000_000))

    command = [each.replace("/etc/lmtpd", str(tmp_path)) for each in shlex.split(line)]
    done = subprocess.run([*command, "--json"], check=True, capture_output=True, text=True, timeout=60)

    # Not 36 hours old by the clock that nobody can set back: it is looked at, and stays.
    assert ("tmp/1.left.behind" in done.stdout) == (name == "lmtpd-clean")
    assert old.exists() == (name == "lmtpd-clean")


def allowed(units: Path) -> set[str]:
    """Return the system calls that the service may make, as systemd of this machine understands its unit."""
    calls: set[str] = set()
    for line in re.findall(r"^SystemCallFilter=(.*)", (units / "lmtpd.service").read_text(), re.MULTILINE):
        found = {call for name in line.lstrip("~").split() for call in members(units, name)}
        calls = calls - found if line.startswith("~") else calls | found
    return calls


def members(units: Path, name: str) -> set[str]:
    done = analyze(units, "syscall-filter", name)
    assert done.returncode == 0, done.stderr
    words = [line.strip() for line in done.stdout.splitlines()[1:] if not line.strip().startswith("#")]
    return {call for word in words if word for call in (members(units, word) if word[0] == "@" else {word})}


@pytest.fixture(scope="module")
def record():
    """Return the lines of strace for a server that delivers, reloads and ends, and has stopped being root."""
    need("root", "ptrace")
    with public_folder("calls") as folder:
        for name in ("mail", "state"):
            (folder / name).mkdir()
            shutil.chown(folder / name, OWNER, OWNER)
        strace = [program("strace"), "-D", "-f", "-qq", "-e", "signal=none", "-o", f"{folder}/calls"]
        with Server(folder, wrapper=strace, config=f'[server]\nrun_as = "{OWNER}"\n') as server:
            with server.client() as client:
                replies = client.deliver("a@example.org", ["b@example.org", "c@example.org"], BODY)
                client.quit()
            assert [reply.code for reply in replies] == [250, 250]
            server.reload()
            assert maildirs.only_message(server.maildir("b@example.org")).return_path == "<a@example.org>"
        yield (folder / "calls").read_text(errors="replace").splitlines()


def calls(lines: list[str]) -> set[str]:
    # Where strace misses the beginning of a call, it takes the result, -EAGAIN say, for the call's number.
    numbered = re.compile(r"\d+ +(?!syscall_0xf{8})([a-z0-9_]+)\(")
    return {found[1] for line in lines if (found := numbered.match(line))}


def test_the_server_makes_no_system_call_that_is_denied(units, record):
    may = allowed(units)
    # systemd starts it as that user; here it was root at first.
    dropped = next(place for place, line in enumerate(record) if " setresuid(" in line)
    at_start, later = calls(record[:dropped]), calls(record[dropped + 1 :])

    assert {"renameat2", "accept4", "inotify_add_watch"} <= later
    assert later <= may, sorted(later - may)
    assert at_start - may <= {"setgroups", "setresgid", "chown", "fchown"}


def test_nothing_is_written_and_executed(record):
    """MemoryDenyWriteExecute=yes: no memory is both, and none becomes executable that was not mapped so."""
    executable = [line for line in record if EXECUTABLE.search(line)]

    assert executable
    assert not [line for line in executable if "PROT_WRITE" in line or "mprotect(" in line]


def test_only_unix_sockets_are_made(record):
    """PrivateNetwork=yes and RestrictAddressFamilies=AF_UNIX: nobody misses the others."""
    made = [line for line in record if re.search(r" socket(?:pair)?\(", line)]

    assert made
    assert not [line for line in made if "(AF_UNIX" not in line]


def test_what_a_server_has_no_use_for_is_denied(units):
    may = allowed(units)

    assert {"openat", "renameat2", "syncfs", "futex"} <= may
    assert not {"mount", "setpriority", "chown", "ptrace"} & may
