"""The command line as a whole: help, usage errors, and that no user ever sees a traceback."""

import os
import subprocess
import sys

import click
import pytest

from lmtpd import __version__, cli
from lmtpd.__main__ import EX_INTERRUPTED, EX_PIPE, main


@pytest.fixture
def failing(monkeypatch):
    """Make `lmtpd check` raise what a test wants."""

    def make(error):
        @click.command()
        def check():
            raise error

        monkeypatch.setattr(cli.LazyGroup, "get_command", lambda *_: check)

    return make


def test_help_lists_every_command(capsys):
    code = main(["--help"])

    output = capsys.readouterr().out
    assert code == os.EX_OK
    assert all(f"  {name} " in output for name in ("serve", "deliver", "check", "explain", "trace"))


def test_help_loads_no_command():
    program = (
        "import sys; from lmtpd.__main__ import main; main(['--help']);"
        "loaded = {'pydantic', 'sqlite3', 'ssl', 'rich'} & set(sys.modules);"
        "sys.exit(str(loaded) if loaded else 0)"
    )

    ended = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True, text=True)

    assert (ended.returncode, ended.stderr) == (0, "")


@pytest.mark.parametrize("closed", ["0<&-", "1>&-", "2>&-", "0<&- 1>&- 2>&-"])
def test_standard_streams_that_were_closed_are_filled(closed):
    """No file that is opened later may take what is printed, a message least of all."""
    program = (
        "import os; from lmtpd.__main__ import main; code = main(['--version']);"
        "free = os.open(os.devnull, os.O_RDONLY); os._exit(code or (0 if free > 2 else 1))"
    )
    command = f'exec "{sys.executable}" -c "{program}" {closed}'

    ended = subprocess.run(["sh", "-c", command], check=False, capture_output=True)

    assert (ended.returncode, ended.stderr) == (0, b"")


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_every_command_has_help_with_an_example(command, capsys):
    code = main([command, "--help"])

    output = capsys.readouterr().out
    assert code == os.EX_OK
    assert "Example" in output
    assert f"lmtpd {command} " in output.partition("Example")[2]


# `manual` needs none: it is about the commands, not about a site. `init` writes them.
@pytest.mark.parametrize("command", [each for each in cli.COMMANDS if each not in ("manual", "init")])
def test_every_command_takes_the_settings(command, capsys):
    main([command, "--help"])

    output = capsys.readouterr().out
    assert all(option in output for option in ("--config", "--state", "--mailboxes", "--set"))


def test_shell_completion_knows_the_commands():
    ctx = click.Context(cli.lmtpd)

    assert cli.lmtpd.list_commands(ctx) == list(cli.COMMANDS)
    assert all(cli.lmtpd.get_command(ctx, name) for name in cli.COMMANDS)


def test_version(capsys):
    assert main(["--version"]) == os.EX_OK

    assert __version__ in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["fly"], "No such command 'fly'"),
        (["check", "--fly"], "No such option"),
        (["serve", "unexpected"], "unexpected extra argument"),
        (["trace"], "Missing argument"),
        (["deliver"], "Missing option"),
        (["trace", "x", "--limit", "0"], "--limit"),
        (["serve", "--listen"], "--listen"),
    ],
)
def test_wrong_usage_is_64(arguments, message, capsys):
    assert main(arguments) == os.EX_USAGE

    output = capsys.readouterr()
    assert message in output.err
    assert "Traceback" not in output.err
    assert output.out == ""


def test_bug_is_one_line(failing, capsys, monkeypatch):
    monkeypatch.delenv("LMTPD_TRACEBACK", raising=False)
    failing(KeyError("x"))

    assert main(["check"]) == os.EX_SOFTWARE

    assert capsys.readouterr().err == "lmtpd: bug: KeyError: 'x' (set LMTPD_TRACEBACK=1 to see where)\n"


def test_bug_can_be_looked_at(failing, monkeypatch):
    monkeypatch.setenv("LMTPD_TRACEBACK", "1")
    failing(KeyError("x"))

    with pytest.raises(KeyError):
        main(["check"])


def test_interruption_is_quiet(failing, capsys):
    failing(KeyboardInterrupt())

    assert main(["check"]) == EX_INTERRUPTED

    assert "Traceback" not in capsys.readouterr().err


def test_reader_that_has_had_enough_is_no_error(failing, capsys, monkeypatch, tmp_path):
    failing(BrokenPipeError())
    with (tmp_path / "out").open("w") as out:
        monkeypatch.setattr("sys.stdout", out)

        assert main(["check"]) == EX_PIPE

    assert capsys.readouterr().err == ""


def test_command_without_a_code_is_a_success(monkeypatch, capsys):
    @click.command()
    def check():
        click.echo("fine")

    monkeypatch.setattr(cli.LazyGroup, "get_command", lambda *_: check)
    monkeypatch.setattr("sys.argv", ["lmtpd", "check"])

    assert main() == os.EX_OK

    assert capsys.readouterr().out == "fine\n"
