"""The values that go into units: what can be said there, and what is refused."""

import sys
from typing import Any

import pytest

from lmtpd.cli.init.files import SOCKET_OCTETS, UNITS, Host, UnusableHost, files

GOOD: dict[str, Any] = {  # Any: some of them are wrong
    "hostname": "mx.example.org",
    "mailboxes": "/srv/mail/{domain}/{user}",
    "mail_root": "/srv/mail",
    "user": "vmail",
    "socket": "/var/spool/postfix/private/lmtpd",
    "rules": (),
}


@pytest.mark.parametrize(
    "key, value, words",
    [
        ("mail_root", "/srv/my mail", "letters, digits"),
        ("mail_root", "/srv/100%", "letters, digits"),
        ("mail_root", "/", "before the first placeholder"),
        ("mail_root", "/tmp", "does not last"),
        ("mail_root", "/tmp/mail", "does not last"),
        ("mail_root", "/run/mail", "does not last"),
        ("socket", "lmtpd", "must be absolute"),
        ("socket", "/run/a\nb", "letters, digits"),
        ("socket", "/" + "x" * SOCKET_OCTETS, "longer than 107"),
        ("user", "v mail", "name of a system user"),
        ("user", "", "name of a system user"),
        ("user", "root", "without privileges"),
        ("rules", ("Trash",), "--keep: Trash: write FOLDER=LIMIT"),
    ],
)
def test_what_a_unit_cannot_hold_is_refused(key, value, words):
    with pytest.raises(UnusableHost, match=words):
        Host.here(**{**GOOD, key: value})


@pytest.mark.parametrize(
    "key, value", [("mail_root", "/tmpfs/mail"), ("socket", "/" + "x" * (SOCKET_OCTETS - 1))]
)
def test_what_only_looks_like_it_is_not(key, value):
    Host.here(**{**GOOD, key: value})


@pytest.mark.parametrize("root, protect", [("/home/vmail", "read-only"), ("/homes/vmail", "yes")])
def test_homes_are_hidden_unless_they_are_needed(monkeypatch, root, protect):
    for name in ("executable", "prefix", "base_prefix"):
        monkeypatch.setattr(sys, name, "/usr/bin/python3")

    units = files(Host.here(**{**GOOD, "mail_root": root}))

    assert f"\nProtectHome={protect}\n" in units[f"{UNITS}/lmtpd.service"]


def test_a_program_in_a_home_is_not_hidden(monkeypatch):
    for name in ("prefix", "base_prefix"):
        monkeypatch.setattr(sys, name, "/usr")
    monkeypatch.setattr(sys, "executable", "/root/venv/bin/python3")

    units = files(Host.here(**GOOD))

    assert "\nProtectHome=read-only\n" in units[f"{UNITS}/lmtpd.service"]
    assert "\nExecStart=/root/venv/bin/lmtpd serve " in units[f"{UNITS}/lmtpd.service"]


def test_rules_make_a_timer_and_are_quoted():
    host = Host.here(**{**GOOD, "rules": ("My Trash=30d", "Junk=14d,500M")})

    units = files(host)

    assert host.timers == ("lmtpd-clean.timer", "lmtpd-expire.timer")
    assert (
        '/maildir-expire --keep "My Trash=30d" --keep Junk=14d,500M --all --config /etc/lmtpd/lmtpd.toml\n'
        in units[f"{UNITS}/lmtpd-expire.service"]
    )
    assert "OnCalendar=" in units[f"{UNITS}/lmtpd-expire.timer"]
