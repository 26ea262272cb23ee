"""`lmtpd check` finds a mistake in every setting of a mail site: one is planted in each."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from lmtpd.__main__ import main
from lmtpd.cli.probing import Down, probe
from lmtpd.config import load
from lmtpd.config.domains import Domain
from lmtpd.config.limits import Limits
from lmtpd.config.owners import Owners
from lmtpd.config.quota import Quota
from lmtpd.config.recipients import SOURCES
from lmtpd.config.schema import Mailboxes, TcpListener, UnixListener
from lmtpd.config.section import Section
from lmtpd.config.submission import Submission
from lmtpd.recipients.file import SETTLING_S
from tests.support.mistakes import ERRORS, FILE, MAP, OWN, PASSWD, WARNINGS


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """A short one: the path of a socket may have 107 octets."""
    with tempfile.TemporaryDirectory(prefix="lmtpd-") as folder:
        yield Path(folder)


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A directory where all of the cases find what they do not mean to be missing."""
    for name in ("mail/example.org/alice", "state"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "link").symlink_to(".")
    users = tmp_path / "users"
    users.write_text("alice@example.org::5000:5000::/srv/mail/alice\n")
    os.utime(users, (1e9, 1e9))
    (tmp_path / "users.db").touch()
    postmap = tmp_path / "postmap"
    postmap.write_text(
        '#!/bin/sh\necho "postmap: fatal: open database /nowhere/table.db: No such file" >&2\nexit 1\n'
    )
    postmap.chmod(0o755)
    return tmp_path


def said(
    site: Path, text: str, capsys: pytest.CaptureFixture[str], *, path: bool = True
) -> tuple[int, list[str]]:
    """Run check over a file; return its exit code and what it printed beside the configuration."""
    file = site / "lmtpd.toml"
    file.write_text(filled(site, text))
    mailboxes = ["--mailboxes", f"{site}/mail/{{domain}}/{{user}}"] if path else []
    code = main(["check", "--config", str(file), "--state", f"{site}/state", *mailboxes])
    return code, capsys.readouterr().err.splitlines()


def filled(site: Path, text: str) -> str:
    return text.replace("{{", "{").replace("}}", "}").replace("{t}", str(site))


@pytest.mark.parametrize("key, text, line", ERRORS)
def test_mistake_is_an_error_with_its_place(site, capsys, key, text, line):
    code, lines = said(site, text, capsys, path=key != "mailboxes.path")

    assert code == os.EX_CONFIG
    found = [each for each in lines if filled(site, line) in each]
    assert found, lines
    assert found[0].startswith(f"{site}/lmtpd.toml:")
    assert key.rpartition(".")[2] in found[0].replace(str(site), "") or key.startswith("recipients")


@pytest.mark.parametrize("key, text, line", WARNINGS)
def test_what_may_pass_is_a_warning(site, capsys, monkeypatch, key, text, line):
    monkeypatch.chdir(site)

    code, lines = said(site, text, capsys)

    assert code == os.EX_OK, lines
    assert any(each.startswith("warning: ") and filled(site, line) in each for each in lines), lines


def test_no_setting_is_left_out():
    tables: dict[str, type[Section]] = {
        "domains": Domain,
        "limits": Limits,
        "owners": Owners,
        "quota": Quota,
        "mailboxes": Mailboxes,
    }
    keys = {f"{name}.{key}" for name, table in tables.items() for key in table.model_fields}
    keys |= {f"submission.{key}" for key in Submission.model_fields}
    keys |= {f"recipients.{kind}.{key}" for kind, table in SOURCES.items() for key in table.model_fields}
    listeners: tuple[type[Section], ...] = (UnixListener, TcpListener)
    for listener in listeners:
        keys |= {f"{name}.{key}" for name in ("policy", "socketmap") for key in listener.model_fields}

    assert keys - {key for key, _, _ in ERRORS} == set()


def test_what_check_prints_has_no_mistake(site, capsys):
    (site / "lmtpd.toml").write_text(filled(site, FILE + OWN + MAP + PASSWD))
    flags = ["--state", f"{site}/state", "--mailboxes", f"{site}/mail/{{domain}}/{{user}}"]
    assert main(["check", "--config", str(site / "lmtpd.toml"), *flags]) == os.EX_OK
    (site / "again.toml").write_text(capsys.readouterr().out)

    assert main(["check", "--config", str(site / "again.toml")]) == os.EX_OK


def test_file_of_users_that_was_just_written_is_waited_for(site, capsys):
    (site / "users").touch()

    code, lines = said(site, FILE, capsys)

    assert code == os.EX_OK, lines
    assert not any("is being written" in line for line in lines)


def test_file_of_users_that_is_written_again_and_again_is_a_warning(site):
    os.utime(site / "users", (2e9, 2e9))  # as if its editor were never done
    waited: list[float] = []
    (site / "lmtpd.toml").write_text(filled(site, FILE))

    (found,) = probe(load(site / "lmtpd.toml", needs=set()), sleep=waited.append)

    assert isinstance(found, Down)
    assert found.text.endswith("users does not have it, but is being written")
    assert waited == [pytest.approx(SETTLING_S, abs=0.1)]
