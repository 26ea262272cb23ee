"""What .ci/Dockerfile refers to is there, and its commands work; no image is built here."""

import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from contextlib import suppress
from pathlib import Path

import pytest

from tests.support.lmtp_client import LmtpClient
from tests.support.polling import wait_for
from tests.support.requirements import ROOT
from tests.support.server import free_port

pytestmark = pytest.mark.system

DOCKERFILE = (ROOT / ".ci/Dockerfile").read_text().replace("\\\n", "")
DOCUMENTED = (ROOT / "docs/running.md").read_text()
SCRIPTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]


def instructions(name: str) -> list[str]:
    return re.findall(rf"^{name} (.*)$", DOCKERFILE, re.MULTILINE)


def words(name: str) -> list[str]:
    """Return the words of an instruction in JSON form; of HEALTHCHECK those of its command."""
    (line,) = instructions(name)
    found: list[str] = json.loads(line[line.index("[") :])
    return found


def here(command: list[str], folder: Path, port: int) -> list[str]:
    """Turn a command of the container into one of this machine."""
    program = Path(sys.executable).with_name(command[0])
    return [str(program), *(each.replace(":2424", f":{port}") for each in moved(command[1:], folder))]


def moved(command: list[str], folder: Path) -> list[str]:
    volumes = words("VOLUME")
    return [re.sub("^(" + "|".join(volumes) + ")", rf"{folder}\1", each) for each in command]


def test_what_is_copied_is_in_the_checkout_and_not_ignored():
    copied = [line.split()[:-1] for line in instructions("COPY") if not line.startswith("--from")]
    sources = {source for line in copied for source in line}
    ignored, *kept = (ROOT / ".ci/Dockerfile.dockerignore").read_text().split()

    assert all((ROOT / source).exists() for source in sources)
    assert ignored == "*"
    assert {line[1:] for line in kept if line.startswith("!")} == sources


def test_everything_that_is_packaged_is_copied():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    needed = {
        *project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"],
        *project["project"]["license-files"],
        project["project"]["readme"],
        "pyproject.toml",
    }

    assert needed <= {word for line in instructions("COPY") for word in line.split()}


def test_it_runs_without_privileges_where_it_may_write():
    (made,) = (line for line in instructions("RUN") if "useradd" in line)
    (user,) = instructions("USER")

    assert made.split(" && ")[0].split()[-1] == user == "vmail"
    assert made.split("install -d -o vmail -g vmail -m 0700 ")[1].split() == words("VOLUME")
    assert DOCKERFILE.index("\nUSER ") < DOCKERFILE.index("\nENTRYPOINT ")


def test_its_commands_are_installed():
    assert {words("ENTRYPOINT")[0], words("HEALTHCHECK")[0]} <= set(SCRIPTS)


def test_the_server_starts_as_in_the_container_and_the_health_check_tells_whether_it_serves(tmp_path):
    port = free_port()
    check = here(words("HEALTHCHECK"), tmp_path, port)
    for volume in words("VOLUME"):
        (tmp_path / volume[1:]).mkdir(parents=True)
    (first_mailbox,) = re.findall(r"^\$ docker exec lmtpd (maildir-make .*)$", DOCUMENTED, re.MULTILINE)
    subprocess.run(here(shlex.split(first_mailbox), tmp_path, port), check=True, timeout=30)

    down = subprocess.run(check, capture_output=True, timeout=30, check=False)
    with subprocess.Popen(
        here([*words("ENTRYPOINT"), *words("CMD")], tmp_path, port), cwd="/", stderr=subprocess.DEVNULL
    ) as server:
        try:
            wait_for(lambda: greets(port), "the server")
            up = subprocess.run(check, capture_output=True, timeout=30, check=False)
            with LmtpClient.connect(f"tcp:127.0.0.1:{port}").greet() as client:
                (reply,) = client.deliver("a@example.org", ["bob@example.org"], b"x\r\n")
                client.quit()
        finally:
            server.terminate()

    assert (down.returncode, up.returncode) == (2, 0)
    assert reply.code == 250
    assert server.returncode == os.EX_OK
    assert len(list((tmp_path / "srv/mail/example.org/bob/new").iterdir())) == 1


def greets(port: int) -> bool:
    with suppress(OSError), LmtpClient.connect(f"tcp:127.0.0.1:{port}") as client:
        return client.reply().code == 220
    return False
