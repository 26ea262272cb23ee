"""`lmtpd init`: what it writes, and what it does not."""

import os
import pwd
import re
import tomllib
from pathlib import Path

import pytest

from lmtpd.__main__ import main
from lmtpd.config import load
from tests.support.requirements import ROOT

UNITS = "etc/systemd/system"


def contents(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_configuration_and_units_are_written_and_told(tmp_path, capsys):
    assert main(["init", str(tmp_path)]) == os.EX_OK

    names = {"lmtpd.socket", "lmtpd.service", "lmtpd-clean.service", "lmtpd-clean.timer"}
    written = contents(tmp_path)
    assert set(written) == {"etc/lmtpd/lmtpd.toml", *(f"{UNITS}/{name}" for name in names)}
    assert not [text for text in written.values() if re.search("@[A-Z_]+@", text)]
    told = capsys.readouterr().out.splitlines()
    assert {line for line in told if line.startswith(str(tmp_path))} == {
        f"{tmp_path}/{path}" for path in written
    }
    assert [
        line for line in told if re.fullmatch(r"  runuser -u vmail -- /\S+/lmtpd check --config \S+", line)
    ]
    assert "  systemctl enable --now lmtpd.socket lmtpd.service lmtpd-clean.timer" in told


def test_the_configuration_can_be_loaded(tmp_path):
    main(["init", str(tmp_path), "--mailboxes", "/srv/größe/{domain}/{user}"])
    assert contents(tmp_path) == {}  # such a path cannot stand in a unit

    assert main(["init", str(tmp_path), "--mailboxes", "/srv/vmail/{domain}/ü{user}"]) == os.EX_OK

    config = load(tmp_path / "etc/lmtpd/lmtpd.toml")
    assert config.mailboxes.path is not None
    assert config.mailboxes.path.text == "/srv/vmail/{domain}/ü{user}"
    assert config.log.target == "journal"
    assert config.listen == ()
    assert config.state == "/var/lib/lmtpd"
    assert "hostname" in tomllib.loads((tmp_path / "etc/lmtpd/lmtpd.toml").read_text())


def test_check_has_nothing_to_say_of_the_configuration(tmp_path, capsys):
    (tmp_path / "mail").mkdir()
    main(["init", str(tmp_path), "--mailboxes", f"{Path.home()}/mail/{{domain}}/{{user}}"])
    file = tmp_path / "etc/lmtpd/lmtpd.toml"
    file.write_text(file.read_text().replace(str(Path.home()), str(tmp_path)))
    capsys.readouterr()

    assert main(["check", "--config", str(file)]) == os.EX_OK
    # Here the test is root; lmtpd.service has its User=.
    assert not [line for line in capsys.readouterr().err.splitlines() if "listen" in line]


def test_the_page_has_a_unit_for_who_asks_for_it(tmp_path, capsys):
    assert main(["init", str(tmp_path), "--user", "mailer", "--web"]) == os.EX_OK

    unit = contents(tmp_path)[f"{UNITS}/lmtpd-web.service"]
    assert "\nUser=mailer\n" in unit
    (command,) = re.findall(r"^ExecStart=/\S+/lmtpd (web .*)", unit, re.MULTILINE)
    assert command.endswith("/lmtpd.toml --on unix:/run/lmtpd-web/web.sock")
    assert "ReadWritePaths" not in unit
    assert "enable --now lmtpd-web.service" in capsys.readouterr().out


def test_options_are_in_the_units(tmp_path, capsys):
    main(
        ["init", str(tmp_path), "--user", "mailer", "--socket", "/run/x/lmtpd", "--mailboxes", "/data/{user}"]
    )

    units = contents(tmp_path)
    assert "\nListenStream=/run/x/lmtpd\n" in units[f"{UNITS}/lmtpd.socket"]
    assert "\nAssertPathIsDirectory=/run/x\n" in units[f"{UNITS}/lmtpd.socket"]
    for name in ("lmtpd", "lmtpd-clean"):
        assert "\nUser=mailer\n" in units[f"{UNITS}/{name}.service"]
        assert "\nReadWritePaths=/data\n" in units[f"{UNITS}/{name}.service"]
    assert "virtual_transport = lmtp:unix:/run/x/lmtpd\n" in capsys.readouterr().out


def test_what_is_there_is_replaced_with_force_only(tmp_path, capsys):
    main(["init", str(tmp_path), "--mailboxes", "/srv/a/{user}"])
    (tmp_path / UNITS / "lmtpd.socket").unlink()
    before = contents(tmp_path)
    capsys.readouterr()

    refused = main(["init", str(tmp_path), "--mailboxes", "/srv/b/{user}"])

    assert refused == os.EX_CANTCREAT
    assert contents(tmp_path) == before
    output = capsys.readouterr()
    assert output.out == ""
    assert str(tmp_path / UNITS / "lmtpd.service") in output.err
    assert "lmtpd.socket" not in output.err
    assert "--force" in output.err

    assert main(["init", str(tmp_path), "--mailboxes", "/srv/b/{user}", "--force"]) == os.EX_OK
    assert "ReadWritePaths=/srv/b\n" in contents(tmp_path)[f"{UNITS}/lmtpd.service"]


def test_dry_run_prints_everything_and_writes_nothing(tmp_path, capsys):
    assert main(["init", str(tmp_path / "dry"), "--dry-run"]) == os.EX_OK
    printed = capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []

    main(["init", str(tmp_path / "wet")])

    for path, text in contents(tmp_path / "wet").items():
        assert f"# {tmp_path}/dry/{path}\n{text}" in printed


def test_a_directory_that_cannot_be_written_is_one_line(tmp_path, capsys):
    (tmp_path / "etc").write_text("no directory")

    assert main(["init", str(tmp_path)]) == os.EX_CANTCREAT

    assert re.fullmatch(r"lmtpd: .*/etc.*: (Not a directory|File exists)\n", capsys.readouterr().err)


def test_postfix_is_told_what_readme_tells(tmp_path, capsys):
    main(["init", str(tmp_path), "--socket", "/var/spool/postfix/private/lmtpd"])

    lines = capsys.readouterr().out.partition("In Postfix's main.cf:\n")[2].split("\n")
    shown = next(
        block
        for block in re.findall(
            r"^```\n(.*?)^```$", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL
        )
        if "virtual_transport" in block
    )
    wanted = [line for line in shown.split("\n") if line and not line.startswith("#")]
    assert [line for line in lines if line][1:] == wanted[1:]
    assert lines[0] == "virtual_mailbox_domains = example.org"


@pytest.mark.parametrize("user", ["root-of-nobody", pwd.getpwuid(os.getuid()).pw_name])
def test_a_user_is_to_be_made_if_there_is_none(tmp_path, capsys, user):
    if user == "root":
        user = "daemon"
    main(["init", str(tmp_path), "--user", user])

    assert ("useradd" in capsys.readouterr().out) == (user == "root-of-nobody")
