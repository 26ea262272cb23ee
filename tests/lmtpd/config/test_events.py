"""The tables [[events]]: what is a receiver, and what is said of what is none."""

from pathlib import Path

import pytest

from lmtpd.config import ConfigError, Need, load, warnings

BASE = '[mailboxes]\npath = "/srv/mail/{user}"\n'


def problems(tmp_path: Path, text: str) -> list[str]:
    (tmp_path / "x.toml").write_text(BASE + text)
    try:
        load(tmp_path / "x.toml", needs={Need.MAILBOXES, Need.PRIVILEGES})
    except ConfigError as exc:
        return [str(each).removeprefix(f"{tmp_path}/x.toml:") for each in exc.problems]
    return []


def event(*lines: str, name: str = "it") -> str:
    return "\n".join(["[[events]]", f'name = "{name}"', *lines, ""])


@pytest.mark.parametrize(
    "line",
    [
        'command = ["/bin/true", "an argument"]',
        'socket = "/run/it.sock"',
        'webhook = "https://example.org:8443/hook?x=1"',
        'webhook = "http://[::1]/"',
    ],
)
def test_one_of_three_is_a_receiver(tmp_path: Path, line: str):
    assert problems(tmp_path, event(line)) == []


@pytest.mark.parametrize(
    "line, said",
    [
        ('command = ["/bin/no-such-program"]', "is not a program that can be run"),
        ('command = ["true"]', "must begin with the absolute path of a program"),
        ('command = "/bin/true"', "must be a program and its arguments"),
        ("command = []", "must be a program and its arguments"),
        ('socket = "/nowhere/at/all"', "is no socket, and none can appear there"),
        ('socket = "/etc/passwd"', "is no socket, and none can appear there"),
        ('webhook = "ftp://example.org/"', "must be a URL that begins with https:// or http://"),
        ('webhook = "https://"', "must be a URL that begins with https:// or http://"),
        ('webhook = "https://x:99999/"', "must be a URL that begins with https:// or http://"),
        ('webhook = "https://user:secret@example.org/"', "a token goes into token_file"),
        ('kinds = ["deliverd"]\nsocket = "/run/x"', 'did you mean "delivered"?'),
        ('kinds = []\nsocket = "/run/x"', "must be a list of at least one of"),
        ('socket = "/run/x"\nbatch = 0', "must be a whole number from 1 to 1000"),
        ('socket = "/run/x"\nkeep_octets = 65535', "must be a whole number from 65536 to"),
        ('socket = "/run/x"\ntoken_file = "/etc/passwd"', "goes with a webhook only"),
        ('webhook = "https://x.example/"\ntoken_file = "/nowhere"', "cannot be read"),
        ("batch = 2", "needs exactly one of command, socket and webhook"),
        ('socket = "/run/x"\nwebhook = "https://x.example/"', "needs exactly one of"),
        ('soket = "/run/x"', 'unknown key, did you mean "events.socket"?'),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, line: str, said: str):
    (found, *_) = problems(tmp_path, event(line))

    assert said in found
    assert found.split(":")[0].isdigit()


def test_names_are_few_characters_and_unique(tmp_path: Path):
    socket = 'socket = "/run/x"'

    assert "is the name of another receiver" in problems(tmp_path, event(socket) + event(socket))[0]
    assert "must be 1 to 40 of" in problems(tmp_path, event(socket, name="A b"))[0]
    assert problems(tmp_path, event(socket, name="a" * 40)) == []
    assert "must be 1 to 40 of" in problems(tmp_path, event(socket, name="a" * 41))[0]


def test_without_records_there_are_no_events(tmp_path: Path):
    (found,) = problems(tmp_path, '[delivery]\nduplicates = "off"\n' + event('socket = "/run/x"'))

    assert "delivery.duplicates" in found
    assert "cannot be combined with [[events]]" in found


def test_what_leaves_the_machine_in_the_clear_is_warned_of(tmp_path: Path):
    (tmp_path / "x.toml").write_text(
        BASE + event('webhook = "http://example.org/"') + event('webhook = "http://127.0.0.1/"', name="here")
    )

    found = [each for each in warnings(load(tmp_path / "x.toml")) if each.startswith("events")]

    assert found == ["events: it: what is told leaves this machine unencrypted, by http://"]
