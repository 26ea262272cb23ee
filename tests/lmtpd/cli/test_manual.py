import os
import subprocess
import sys
import tomllib

import click
import pytest

from lmtpd.__main__ import main
from lmtpd.cli.manual import commands, files
from lmtpd.cli.roff import page
from tests.support.requirements import ROOT, need


@pytest.fixture(scope="module")
def written():
    return dict(files())


def shown(text):
    """Read a page as a terminal shows it, wide enough not to break lines."""
    environment = {**os.environ, "MANWIDTH": "500", "LC_ALL": "C.UTF-8"}
    command = ["man", "--warnings=w", "-P", "cat", "-l", "-"]
    done = subprocess.run(command, input=text, capture_output=True, text=True, env=environment, check=True)
    assert done.stderr == ""
    return done.stdout


def test_every_program_of_the_project_has_its_pages(written):
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]

    names = {path.removeprefix("man/man1/").removesuffix(".1") for path in written if path.startswith("man/")}

    assert set(scripts) | {"lmtpd-serve", "lmtpd-deliver", "lmtpd-trace"} <= names


def test_every_option_is_in_the_page_of_its_command(written):
    for name, command in commands():
        text = written[f"man/man1/{name}.1"].replace("\\-", "-")
        options = [each for each in command.params if isinstance(each, click.Option)]

        missing = [option for each in options for option in each.opts if option not in text]

        assert not missing, name


def test_a_page_is_what_man_can_show(written):
    need("man")

    text = shown(written["man/man1/maildir-make.1"])

    assert "maildir-make - make a Maildir" in text
    assert "\nEXAMPLES\n" in text
    assert "       maildir-make /srv/mail/example.org/bob --owner vmail\n" in text
    assert "lmtpd-serve(1)" in text


def test_all_pages_are_without_a_fault(written):
    need("groff")
    for path, text in written.items():
        if path.startswith("man/"):
            command = ["groff", "-man", "-ww", "-Tutf8", "-z"]
            done = subprocess.run(command, input=text, capture_output=True, text=True, check=True)
            assert done.stderr == "", path


def test_what_roff_would_take_for_its_own():
    @click.command()
    def command():
        """Do it.

        \b
        Examples:
          .hidden C:\\new 'quoted'
          plain
        """

    text = page(command, "x", version="1", see_also=["x", "y"])

    assert "\\&.hidden C:\\enew \\(aqquoted\\(aq\n" in text
    assert text.endswith(".SH SEE ALSO\n.BR y (1)\n")


def test_files_are_written_below_a_directory(tmp_path, capsys):
    assert main(["manual", str(tmp_path)]) == 0

    assert (tmp_path / "man/man1/lmtpd.1").read_text().startswith(".TH")
    assert str(tmp_path / "zsh/site-functions/_maildir-check") in capsys.readouterr().out


def test_a_directory_that_cannot_be_made(tmp_path, capsys):
    (tmp_path / "file").touch()

    assert main(["manual", str(tmp_path / "file/x")]) == os.EX_CANTCREAT
    assert "Not a directory" in capsys.readouterr().err


def test_bash_completes_an_option(written, tmp_path):
    need("bash")
    program = tmp_path / "maildir-make"
    program.write_text(
        f"#!/bin/sh\ncd {ROOT} && exec {sys.executable} "
        "-c 'import sys; from scripts.make import main; sys.exit(main())' \"$@\"\n"
    )
    program.chmod(0o755)
    script = (
        written["bash-completion/completions/maildir-make"]
        + "\nCOMP_WORDS=(maildir-make --subs); COMP_CWORD=1; _maildir_make_completion maildir-make"
        + '; echo "${COMPREPLY[@]}"\n'
    )

    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run(["bash"], input=script, capture_output=True, text=True, env=environment, check=True)

    assert done.stdout.split() == ["--subscribe"]
