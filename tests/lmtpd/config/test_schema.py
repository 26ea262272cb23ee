"""The schema: defaults, and what its types can tell."""

import json

import pytest

from lmtpd.config import (
    ConfigError,
    Override,
    UnixListener,
    effective,
    load,
    written,
)
from tests.support.configs import MAILBOXES, setting


def test_defaults_are_those_of_the_contract():  # Long because every key is named
    config = load(None, [MAILBOXES, setting("hostname=mx.example.org")])

    values = {written(path): value for path, value in effective(config)}

    assert values == {
        "hostname": "mx.example.org",
        "state": "/var/lib/lmtpd",
        "listen": [],
        "policy": [],
        "socketmap": [],
        "tls": None,
        "server.workers": 2,
        "server.connections": 1000,
        "server.run_as": None,
        "server.xforward_from": [],
        "owners.first_uid": 1000,
        "owners.groups": [],
        "limits.message_octets": 104_857_600,
        "limits.recipients": 1000,
        "limits.idle_s": 300,
        "limits.bad_commands": 10,
        "limits.min_octets_per_s": 100,
        "limits.mailbox_concurrency": 10,
        "limits.mailbox_slow_s": 2,
        "limits.file_system_faults": 10,
        "limits.file_system_pause_s": 30,
        "limits.free_octets": 0,
        "limits.free_percent": 0,
        "limits.free_inodes": 0,
        "limits.sender_recipients_per_minute": 0,
        "limits.client_recipients_per_minute": 0,
        "limits.domain_recipients_per_minute": 0,
        "mailboxes.path": "/srv/mail/{domain}/{user}",
        "mailboxes.create": False,
        "mailboxes.layout": "maildir++",
        "mailboxes.detail": "existing",
        "mailboxes.folder_names": "utf-7",
        "mailboxes.folder_levels": 20,
        "mailboxes.subscribe": False,
        "mailboxes.delimiters": "+",
        "mailboxes.fold_case": True,
        "mailboxes.postmaster": "postmaster@mx.example.org",
        "recipients[0].source": "maildirs",
        "domains": {},
        "aliases": {},
        "delivery.commit": "checked",
        "delivery.durability": "full",
        "delivery.duplicates": "unconfirmed",
        "delivery.single_instance": "off",
        "delivery.loops": "refuse",
        "delivery.deadline_s": 240,
        "submission.smtp": None,
        "submission.sendmail": None,
        "events": [],
        "quota.default": "0",
        "quota.full": "defer",
        "quota.folders": [],
        "quota.deleted": "counted",
        "quota.warnings": [],
        "quota.warning_command": None,
        "quota.watch": 50,
        "quota.sample_s": 86_400,
        "ledger.url": "sqlite:///var/lib/lmtpd/ledger.db",
        "ledger.on_failure": "defer",
        "ledger.history_days": 30,
        "ledger.history_octets": 4_294_967_296,
        "log.format": "text",
        "log.target": "stderr",
        "metrics.serve": True,
        "metrics.unix": "/var/lib/lmtpd/metrics.sock",
        "metrics.mode": "0660",
        "metrics.tcp": None,
    }


def test_socket_is_for_its_group_unless_set():
    config = load(None, [MAILBOXES, Override("--listen", "unix:/run/x")])

    (listener,) = config.listen
    assert isinstance(listener, UnixListener)
    assert (listener.mode, listener.uid, listener.gid) == (0o660, -1, -1)


def test_host_name_is_the_machines_name(monkeypatch):
    monkeypatch.setattr("socket.gethostname", lambda: "mx7.example.org")

    assert load(None, [MAILBOXES]).hostname == "mx7.example.org"


def test_machine_with_an_impossible_name_needs_a_host_name(monkeypatch):
    monkeypatch.setattr("socket.gethostname", lambda: "my machine")

    with pytest.raises(ConfigError) as caught:
        load(None, [MAILBOXES])

    (problem,) = caught.value.problems
    assert str(problem).startswith('configuration: hostname = "my machine": must be a host name')


@pytest.mark.parametrize(
    "peer, is_trusted",
    [
        ("192.0.2.1", True),
        ("192.0.3.1", False),
        ("::ffff:192.0.2.9", True),
        ("fe80::1%eth0", True),
        ("2001:db8::1", False),
    ],
)
def test_networks_that_may_say_xforward(peer, is_trusted):
    config = load(None, [MAILBOXES, setting('server.xforward_from=["192.0.2.0/24", "fe80::/10"]')])

    assert config.server.trusts(peer) is is_trusted


def test_configuration_does_not_change():
    config = load(None, [MAILBOXES])

    with pytest.raises(ValueError, match="frozen"):
        config.limits.recipients = 3  # type: ignore[misc]  # the point of the test


def test_effective_values_can_be_written_as_json():
    config = load(
        None, [MAILBOXES, Override("--listen", "tcp:a:24"), setting('server.xforward_from=["::1"]')]
    )

    assert json.dumps({written(path): value for path, value in effective(config)})


def test_metrics_are_shown_in_the_state_directory_unless_set():
    def address(*settings: str) -> object:
        return load(None, [MAILBOXES, *map(setting, settings)]).metrics_address

    assert address("state=/s") == "/s/metrics.sock"
    assert address("metrics.unix=/run/m.sock") == "/run/m.sock"
    assert address("metrics.tcp=127.0.0.1:9824") == ("127.0.0.1", 9824)
    assert address("metrics.tcp=localhost:9824") == ("127.0.0.1", 9824)
    assert address("metrics.tcp=[::1]:9824") == ("::1", 9824)
    assert address("metrics.serve=false") is None
