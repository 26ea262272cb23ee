"""Units for systemd."""

import pytest

from scripts.shell.timer import quoted, units


@pytest.mark.parametrize(
    "argument, written",
    [
        ("--all", "--all"),
        ("/srv/mail/{domain}/{user}", "/srv/mail/{domain}/{user}"),
        ("Lists/*=1y", "Lists/*=1y"),
        ("a b", '"a b"'),
        ("50%", "50%%"),
        ("$HOME", "$$HOME"),
        ('say "x"', '"say \\"x\\""'),
        ("", '""'),
        ("a;b", '"a;b"'),
        ("a\\b", '"a\\\\b"'),
    ],
)
def test_arguments_are_quoted_for_systemd(argument, written):
    assert quoted(argument) == written


def test_units_hold_the_command_line():
    text = units("true", "Nothing", ["--keep", "Trash=30d", "a b"])

    assert (
        'ExecStart=/usr/bin/true --keep Trash=30d "a b"\n' in text
        or 'ExecStart=/bin/true --keep Trash=30d "a b"\n' in text
    )
    assert "# /etc/systemd/system/true.timer\n" in text
    assert "Description=Nothing, every night\n" in text
