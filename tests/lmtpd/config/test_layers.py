"""Defaults, file, flags: which one wins, and what is said of each."""

import pytest

from lmtpd.config import ConfigError, Need, Override, UnixListener, effective, load, written
from tests.support.configs import MAILBOXES, from_text, problems_of, setting


def test_flags_override_the_file_and_set_overrides_both(tmp_path):
    text = "[server]\nworkers = 3\nconnections = 30\n[limits]\nrecipients = 3\n"

    config = from_text(
        tmp_path,
        text,
        setting("server.workers=5"),
        Override("--workers", "4"),
        setting("limits.recipients=7"),
    )

    assert (config.server.workers, config.server.connections, config.limits.recipients) == (5, 30, 7)
    assert config.sources["server.workers"] == "--set"
    assert config.sources["server.connections"] == f"{tmp_path}/lmtpd.toml:3"
    assert config.sources["limits.idle_s"] == "default"


def test_last_set_of_a_key_wins():
    config = load(None, [MAILBOXES, setting("limits.idle_s=5"), setting("limits.idle_s=6")])

    assert config.limits.idle_s == 6


def test_listeners_on_the_command_line_replace_those_of_the_file(tmp_path):
    text = '[[listen]]\ntcp = "127.0.0.1:24"\n[[listen]]\nunix = "/run/a"\n'

    config = from_text(
        tmp_path, text, Override("--listen", "unix:/run/b"), Override("--listen", "unix:/run/c")
    )

    assert list(map(str, config.listen)) == ["unix:/run/b", "unix:/run/c"]
    assert config.sources["listen[0].unix"] == "--listen"
    assert config.sources["listen[0].mode"] == "default"


def test_listeners_can_be_set_with_everything_they_have():
    config = load(None, [MAILBOXES, setting('listen=[{unix="/run/a", mode="0666"}]')])

    (listener,) = config.listen
    assert isinstance(listener, UnixListener)
    assert listener.mode == 0o666
    assert config.sources["listen[0].mode"] == "--set"


@pytest.mark.parametrize(
    "text, key, value",
    [
        ("hostname=mx.example.org", "hostname", "mx.example.org"),
        ("hostname='mx.example.org'", "hostname", "mx.example.org"),
        ("hostname=1", "hostname", "1"),
        ("hostname=2026-11-24", "hostname", "2026-11-24"),
        ("quota.default=0", "quota.default", "0"),
        ("mailboxes.path={user}", "mailboxes.path", "/{user}"),
        ("mailboxes.path=/srv/a b/{user}", "mailboxes.path", "/srv/a b/{user}"),
        ("mailboxes.delimiters=", "mailboxes.delimiters", ""),
        ("mailboxes.fold_case=false", "mailboxes.fold_case", False),
        ("limits.message_octets=1_000_000", "limits.message_octets", 1_000_000),
        (" limits.recipients =5", "limits.recipients", 5),
    ],
)
def test_value_of_set_is_toml_or_the_bare_string(text, key, value, monkeypatch):
    monkeypatch.chdir("/")

    config = load(None, [MAILBOXES, setting(text)])

    assert {written(path): each for path, each in effective(config)}[key] == value


def test_source_of_a_key_in_an_inline_table_is_the_line_of_its_statement(tmp_path):
    config = from_text(tmp_path, '\nlisten = [\n  {unix = "/run/a"},\n]\nlimits = {recipients = 4}\n')

    assert config.sources["listen[0].unix"].endswith(":2")
    assert config.sources["limits.recipients"].endswith(":5")
    assert config.sources["limits.idle_s"] == "default"


@pytest.mark.parametrize(
    "flag, text, message",
    [
        ("--listen", "/run/x", '--listen: listen = "/run/x": must be unix:PATH or tcp:HOST:PORT'),
        ("--listen", "unix", '--listen: listen = "unix": must be unix:PATH or tcp:HOST:PORT'),
        ("--listen", "unix:", '--listen: listen[0].unix = "": must not be empty'),
        ("--listen", "tcp:24", '--listen: listen[0].tcp = "24": must be HOST:PORT'),
        ("--mailboxes", "/srv/mail", '--mailboxes: mailboxes.path = "/srv/mail": must contain {user}'),
        ("--state", "/dev/null", '--state: state = "/dev/null": is not a directory'),
        ("--workers", "0", "--workers: server.workers = 0: must be a whole number from 1 to 256"),
        ("--set", "limits.recipients", "--set: limits.recipients: must be SECTION.KEY=VALUE"),
        ("--set", "=3", "--set: =3: must be SECTION.KEY=VALUE"),
        ("--set", ".x=3", "--set: .x=3: must be SECTION.KEY=VALUE"),
        (
            "--set",
            "limits.recipient=3",
            '--set: limits.recipient = "3": unknown key, did you mean "limits.recipients"?',
        ),
        ("--set", "hostname.x=3", '--set: hostname = {"x": "3"}: must be a string, not a table'),
        ("--set", "a.b.c=3", '--set: a = {"b": {"c": "3"}}: unknown key'),
        ("--set", "limits=3", '--set: limits = "3": must be a table, not a string: write [limits]'),
        (
            "--set",
            "hostname=a\nlimits=3",
            '--set: hostname = "a\\nlimits=3": must not contain control characters',
        ),
        ("--set", "limits.idle_s=1\nx=3", '--set: limits.idle_s = "1\\nx=3": must be a whole number'),
        ("--set", "hostname=" + "[" * 5000, '--set: hostname = "[[[['),
    ],
)
def test_wrong_flag_is_named(flag, text, message):
    with pytest.raises(ConfigError) as caught:
        load(None, [Override(flag, text)] + ([MAILBOXES] if flag != "--mailboxes" else []))

    (problem,) = map(str, caught.value.problems)
    assert problem.startswith(message)


def test_set_below_a_wrong_section_does_not_hide_the_section(tmp_path):
    found = problems_of(tmp_path, 'hostname = "h"\nlimits = 3', setting("limits.recipients=3"))

    assert found == [
        "lmtpd.toml:2: limits = 3: must be a table, not a number: write [limits] and its keys below",
        "--set: limits.recipients = 3: limits is not a table",
    ]


def test_missing_file_is_one_problem(tmp_path):
    with pytest.raises(ConfigError) as caught:
        load(tmp_path / "none.toml", [], needs=frozenset(Need))

    assert str(caught.value) == f"{tmp_path}/none.toml: cannot be read: No such file or directory"


@pytest.mark.parametrize(
    "data, message",
    [
        (b"a = 1\nb = \n", "lmtpd.toml:2: is not valid TOML: invalid value (column 5)"),
        (b"a = 1\na = 2\n", "lmtpd.toml:2: is not valid TOML: cannot overwrite a value (column 6)"),
        (b"a = 1\nb = '''\nx", "lmtpd.toml:3: is not valid TOML: expected \"'''\""),
        (b"a = 1\n\xff = 2\n", "lmtpd.toml:2: is not UTF-8 text"),
        (b"a = " + b"[" * 10_000, "lmtpd.toml: is nested too deeply"),
    ],
)
def test_file_that_is_no_toml_is_reported_with_its_line(tmp_path, data, message):
    (tmp_path / "lmtpd.toml").write_bytes(data)

    with pytest.raises(ConfigError) as caught:
        load(tmp_path / "lmtpd.toml", [setting("limits.idle_s=0")], needs=frozenset(Need))

    first, second = map(str, caught.value.problems)
    assert first.removeprefix(f"{tmp_path}/") == message
    assert second.startswith("--set: limits.idle_s = 0")
