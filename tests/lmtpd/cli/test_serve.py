"""`lmtpd serve`: from the command line to the supervisor."""

import os

import pytest

from lmtpd.__main__ import main
from lmtpd.config import ConfigError
from lmtpd.server.errors import CannotStart

ME = "me"  # each process of the test run collects the same names
ENOUGH = ["--mailboxes", "/srv/mail/{user}", "--listen", "unix:/run/lmtpd.sock"]


@pytest.fixture
def served(monkeypatch):
    """The calls of the supervisor, which serves nothing here."""
    calls = []

    def run(config, reload, *, build, reporter, expose, send_events):
        calls.append((config, reload))
        return os.EX_OK

    monkeypatch.setattr("lmtpd.server.supervisor.run", run)
    return calls


def test_every_flag_of_the_contract(served, tmp_path):
    (tmp_path / "x.toml").write_text("[limits]\nrecipients = 5\n")
    arguments = ["--config", str(tmp_path / "x.toml"), "--listen", "tcp:127.0.0.1:24", "--create"]
    arguments += ["--state", str(tmp_path), "--workers", "3", "--set", "limits.idle_s=9"]

    assert main(["serve", *ENOUGH, *arguments]) == os.EX_OK

    ((config, _),) = served
    assert list(map(str, config.listen)) == ["unix:/run/lmtpd.sock", "tcp:127.0.0.1:24"]
    assert (config.mailboxes.create, config.state, config.server.workers) == (True, str(tmp_path), 3)
    assert (config.limits.recipients, config.limits.idle_s) == (5, 9)


def test_reload_reads_the_file_again_and_keeps_the_flags(served, tmp_path):
    file = tmp_path / "x.toml"
    file.write_text("[limits]\nrecipients = 5\n")
    main(["serve", *ENOUGH, "--config", str(file)])
    ((_, reload),) = served

    file.write_text("[limits]\nrecipients = 6\n")
    again = reload()

    assert again.limits.recipients == 6
    assert list(map(str, again.listen)) == ["unix:/run/lmtpd.sock"]
    file.write_text("[limits]\nrecipients = 0\n")
    with pytest.raises(ConfigError, match="recipients"):
        reload()


def test_listener_is_needed(served, capsys):
    assert main(["serve", "--mailboxes", "/srv/mail/{user}"]) == os.EX_CONFIG

    assert "there is nothing to listen on" in capsys.readouterr().err
    assert served == []


def test_socket_from_systemd_is_a_listener(served, monkeypatch):
    monkeypatch.setenv("LISTEN_PID", str(os.getpid()))
    monkeypatch.setenv("LISTEN_FDS", "1")

    assert main(["serve", "--mailboxes", "/srv/mail/{user}"]) == os.EX_OK

    (_, reload) = served[0]
    monkeypatch.delenv("LISTEN_FDS")  # the server takes it away, and reloads nevertheless
    assert reload().listen == ()


@pytest.mark.parametrize("pid, fds", [("1", "1"), (None, "1"), (ME, "0"), (ME, None)])
def test_sockets_for_somebody_else_are_none(served, monkeypatch, pid, fds):
    for name, value in (("LISTEN_PID", str(os.getpid()) if pid == ME else pid), ("LISTEN_FDS", fds)):
        monkeypatch.delenv(name, raising=False)
        if value is not None:
            monkeypatch.setenv(name, value)

    assert main(["serve", "--mailboxes", "/srv/mail/{user}"]) == os.EX_CONFIG


def test_warnings_are_logged_at_the_start(served, capfd):
    main(["serve", *ENOUGH, "--set", "delivery.commit=hold"])

    assert (
        'configuration_warning level=warning text="delivery.commit = hold: mail is lost'
        in capfd.readouterr().err
    )


def test_server_that_cannot_start_says_why_in_one_line(monkeypatch, capsys):
    def run(config, reload, *, build, reporter, expose, send_events):
        raise CannotStart("unix:/run/lmtpd.sock: another process serves that socket", os.EX_CANTCREAT)

    monkeypatch.setattr("lmtpd.server.supervisor.run", run)

    assert main(["serve", *ENOUGH]) == os.EX_CANTCREAT

    assert capsys.readouterr().err == "lmtpd: unix:/run/lmtpd.sock: another process serves that socket\n"
