"""`lmtpd check`."""

import json
import os
import tomllib

import pytest

from lmtpd.__main__ import main
from lmtpd.config import effective, load

FILE = """\
hostname = "mx.example.org"
[[listen]]
unix = "{folder}/a"
mode = "0600"
[[listen]]
tcp = "[::1]:24"
[server]
xforward_from = ["192.0.2.0/24"]
[mailboxes]
path = "{folder}/{{user}}"
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "lmtpd.toml"
    path.write_text(FILE.format(folder=tmp_path))
    return path


def test_output_is_a_configuration_with_the_same_effect(file, tmp_path, capsys):
    assert main(["check", "--config", str(file), "--set", "log.format=json"]) == os.EX_OK

    (tmp_path / "again.toml").write_text(capsys.readouterr().out)
    again = load(tmp_path / "again.toml")
    assert dict(effective(again))["log", "format"] == "json"
    tomllib.loads((tmp_path / "again.toml").read_text())
    assert main(["check", "--config", str(tmp_path / "again.toml")]) == os.EX_OK


def test_every_value_has_its_source(file, tmp_path, capsys):
    main(["check", "--config", str(file), "--state", str(tmp_path), "--set", "limits.recipients=7"])

    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["hostname", "=", '"mx.example.org"', "#", f"{file}:1"] in lines
    assert ["state", "=", f'"{tmp_path}"', "#", "--state"] in lines
    assert ["mode", "=", '"0600"', "#", f"{file}:4"] in lines
    assert ["recipients", "=", "7", "#", "--set"] in lines
    assert ["idle_s", "=", "300", "#", "default"] in lines
    assert ["#", "run_as", "is", "not", "set"] in lines
    assert lines.count(["[[listen]]"]) == 2


def test_json_has_values_sources_and_warnings(file, capsys):
    assert main(["check", "--config", str(file), "--set", "delivery.commit=hold", "--json"]) == os.EX_OK

    shown = json.loads(capsys.readouterr().out)
    assert shown["valid"] is True
    assert shown["values"]["listen[1].tcp"] == {"value": "[::1]:24", "source": f"{file}:6"}
    assert shown["values"]["server.xforward_from"]["value"] == ["192.0.2.0/24"]
    assert any("hold" in warning for warning in shown["warnings"])


def test_problems_are_all_listed_with_exit_code_78(tmp_path, capsys):
    (tmp_path / "x.toml").write_text("[limits]\nrecipients = 0\nidle = 3\n")

    code = main(["check", "--config", str(tmp_path / "x.toml"), "--state", "/dev/null"])

    output = capsys.readouterr()
    assert code == os.EX_CONFIG
    assert output.out == ""
    places = [line.split(": ")[0] for line in output.err.splitlines()]
    assert places == [
        f"{tmp_path}/x.toml",
        f"{tmp_path}/x.toml:2",
        f"{tmp_path}/x.toml:3",
        "--state",
        "lmtpd",
    ]
    assert output.err.endswith("lmtpd: 4 problems in the configuration\n")


def test_one_problem_is_no_plural(capsys):
    assert main(["check"]) == os.EX_CONFIG

    assert capsys.readouterr().err.endswith("lmtpd: 1 problem in the configuration\n")


def test_problems_as_json(tmp_path, capsys):
    code = main(["check", "--mailboxes", "/srv/{user}", "--set", "limits.idle_s=x", "--json"])

    assert code == os.EX_CONFIG
    assert json.loads(capsys.readouterr().out) == {
        "valid": False,
        "problems": [
            {
                "place": "--set: limits.idle_s",
                "value": '"x"',
                "message": "must be a whole number from 1 to 86400",
            }
        ],
    }


def test_warnings_do_not_mix_with_the_configuration(tmp_path, capsys):
    assert main(["check", "--mailboxes", f"{tmp_path}/{{user}}"]) == os.EX_OK

    output = capsys.readouterr()
    assert "warning: there is no listener" in output.err
    assert "warning: " not in output.out


def test_configuration_file_may_come_from_the_environment(file, capsys, monkeypatch):
    monkeypatch.setenv("LMTPD_CONFIG", str(file))

    assert main(["check"]) == os.EX_OK

    assert "mx.example.org" in capsys.readouterr().out
