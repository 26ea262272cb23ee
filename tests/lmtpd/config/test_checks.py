"""What does not go together, and what works but may not be meant."""

import pwd

import pytest
import trustme

from lmtpd.config import ConfigError, Need, Override, load, warnings
from tests.support.configs import MAILBOXES, from_text, problems_of, setting


def test_hold_is_refused_with_a_listener_of_postfix():
    flags = [
        MAILBOXES,
        setting("delivery.commit=hold"),
        Override("--listen", "unix:/var/spool/postfix/private/lmtpd"),
    ]

    with pytest.raises(ConfigError) as caught:
        load(None, flags)

    assert "cannot be combined with the listener unix:/var/spool/postfix/private/lmtpd" in str(caught.value)
    load(None, [MAILBOXES, setting("delivery.commit=hold"), Override("--listen", "tcp:127.0.0.1:24")])


@pytest.mark.parametrize("below", ["private", "private/deep", "."])
def test_hold_knows_a_queue_directory_by_what_lies_in_it(tmp_path, below):
    for queue in ("active", "deferred", "incoming", "private/deep"):
        (tmp_path / "queue" / queue).mkdir(parents=True)
    (tmp_path / "link").symlink_to("queue")
    flags = [MAILBOXES, setting("delivery.commit=hold")]

    with pytest.raises(ConfigError, match="in Postfix's queue directory"):
        load(None, [*flags, Override("--listen", f"unix:{tmp_path}/link/{below}/lmtpd")])

    load(None, [*flags, Override("--listen", f"unix:{tmp_path}/lmtpd")])


def test_certificate_and_key_must_belong_together(tmp_path):
    authority = trustme.CA()
    for name in ("one", "two"):
        authority.issue_cert("mx.example.org").private_key_and_cert_chain_pem.write_to_path(
            str(tmp_path / name)
        )
    cert = setting(f"tls.cert={tmp_path}/one")

    load(None, [cert, setting(f"tls.key={tmp_path}/one")], needs={Need.PRIVILEGES})
    with pytest.raises(ConfigError, match=r"cannot be used with the key .*mismatch"):
        load(None, [cert, setting(f"tls.key={tmp_path}/two")], needs={Need.PRIVILEGES})


def test_certificate_that_is_none_is_reported():
    flags = [setting("tls.cert=/dev/null"), setting("tls.key=/dev/null")]

    with pytest.raises(ConfigError) as caught:
        load(None, flags, needs={Need.PRIVILEGES})

    assert "tls.cert" in str(caught.value)


def test_both_files_of_tls_are_reported_when_neither_can_be_read(tmp_path):
    flags = [setting(f"tls.cert={tmp_path}"), setting("tls.key=/nowhere/key")]

    with pytest.raises(ConfigError) as caught:
        load(None, flags, needs={Need.PRIVILEGES})

    assert list(map(str, caught.value.problems)) == [
        f'--set: tls.cert = "{tmp_path}": cannot be read: Is a directory',
        '--set: tls.key = "/nowhere/key": cannot be read: No such file or directory',
    ]


def test_only_root_may_run_as_another_user(monkeypatch):
    flags = [setting("server.run_as=daemon")]
    monkeypatch.setattr("os.geteuid", lambda: 12345)

    with pytest.raises(ConfigError, match="only root can become another user"):
        load(None, flags, needs={Need.PRIVILEGES})

    monkeypatch.setattr("os.geteuid", lambda: pwd.getpwnam("daemon").pw_uid)
    assert load(None, flags, needs={Need.PRIVILEGES}).server.run_as == "daemon"


RECIPIENT = setting("server.run_as=recipient")


def problems(monkeypatch, uid, *flags):
    monkeypatch.setattr("os.geteuid", lambda: uid)
    with pytest.raises(ConfigError) as caught:
        load(None, [RECIPIENT, *flags], needs={Need.PRIVILEGES})
    return "\n".join(map(str, caught.value.problems))


def test_only_root_may_act_as_each_recipient(monkeypatch):
    assert "only root can act as each recipient" in problems(monkeypatch, 12345)

    monkeypatch.setattr("os.geteuid", lambda: 0)
    assert load(None, [RECIPIENT], needs={Need.PRIVILEGES}).acts_as_recipients


def test_nobody_knows_whose_a_missing_maildir_would_be(monkeypatch):
    assert "make them with maildir-make --owner" in problems(monkeypatch, 0, setting("mailboxes.create=true"))


def test_no_owner_gets_the_group_of_root(monkeypatch, tmp_path):
    path = tmp_path / "lmtpd.toml"
    path.write_text('[server]\nrun_as = "recipient"\n[owners]\ngroups = ["mail", "root"]\n')
    monkeypatch.setattr("os.geteuid", lambda: 0)

    with pytest.raises(ConfigError, match="must not contain root's group"):
        load(path, [], needs={Need.PRIVILEGES})


def test_who_does_not_serve_needs_no_privileges(monkeypatch):
    flags = [setting("server.run_as=daemon"), setting("tls.cert=/nowhere"), setting("tls.key=/nowhere")]
    monkeypatch.setattr("os.geteuid", lambda: 12345)

    assert load(None, flags, needs=frozenset()).server.run_as == "daemon"


@pytest.mark.parametrize(
    "flags, warning",
    [
        ([setting("delivery.commit=hold")], "delivery.commit = hold: mail is lost"),
        ([setting("owners.first_uid=500")], 'owners: means nothing unless server.run_as is "recipient"'),
        ([setting("delivery.durability=data")], "delivery.durability = data: a power cut can lose mail"),
        ([setting("delivery.durability=none")], "delivery.durability = none: a power cut can lose mail"),
        ([], "mailboxes.path: the directory /srv/mail-that-is-not-there does not exist"),
    ],
)
def test_what_may_not_be_meant_is_warned_about(flags, warning):
    config = load(None, [Override("--mailboxes", "/srv/mail-that-is-not-there/{user}"), *flags])

    assert any(warning in each for each in warnings(config))


def test_tls_without_a_tcp_listener_is_warned_about(tmp_path):
    trustme.CA().issue_cert("mx").private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "pem"))
    tls = [setting(f"tls.cert={tmp_path}/pem"), setting(f"tls.key={tmp_path}/pem")]

    unix_only = load(None, [MAILBOXES, *tls, Override("--listen", "unix:/run/x")])
    both = load(
        None, [MAILBOXES, *tls, Override("--listen", "unix:/run/x"), Override("--listen", "tcp:a:24")]
    )

    assert any("tls: no TCP listener" in each for each in warnings(unix_only))
    assert not any("tls: no TCP listener" in each for each in warnings(both))


def test_root_without_another_user_is_warned_about(monkeypatch):
    config = load(None, [MAILBOXES])

    monkeypatch.setattr("os.geteuid", lambda: 0)
    assert any("the server stays root" in each for each in warnings(config))
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert not any("the server stays root" in each for each in warnings(config))


def test_ordinary_configuration_has_no_warning(tmp_path, monkeypatch):
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    config = load(
        None, [Override("--mailboxes", f"{tmp_path}/{{user}}"), Override("--listen", "unix:/run/x")]
    )

    assert list(warnings(config)) == []


def test_metrics_are_shown_in_one_place():
    with pytest.raises(ConfigError, match=r"metrics\.tcp = .*cannot be combined with metrics\.unix"):
        load(None, [MAILBOXES, setting("metrics.tcp=127.0.0.1:9824"), setting("metrics.unix=/run/m")])


def limits_warnings(tmp_path, *settings: str) -> list[str]:
    mailboxes = Override("--mailboxes", f"{tmp_path}/{{user}}")
    config = from_text(tmp_path, "", mailboxes, *(setting(each) for each in settings))
    return [warning for warning in warnings(config) if warning.startswith("limits.")]


@pytest.mark.parametrize("concurrency, warns", [(4, False), (5, True), (6, True)])
def test_a_concurrency_that_connections_never_reach_is_warned_of(tmp_path, concurrency, warns):
    found = limits_warnings(
        tmp_path, "server.connections=5", f"limits.mailbox_concurrency={concurrency}", "server.workers=1"
    )

    assert bool(found) is warns


@pytest.mark.parametrize("key", ["free_octets", "free_inodes"])
def test_a_floor_above_the_whole_file_system_is_warned_of(tmp_path, key):
    (found,) = limits_warnings(tmp_path, f"limits.{key}={2**60}")

    assert found.startswith(
        f"limits.{key} = {2**60}: all mail is deferred, since the file system of {tmp_path}"
    )
    assert limits_warnings(tmp_path, f"limits.{key}=1") == []


@pytest.mark.parametrize(
    "key, minimum, maximum",
    [
        ("min_octets_per_s", 0, 1_000_000),
        ("mailbox_concurrency", 0, 100_000),
        ("mailbox_slow_s", 0, 600),
        ("file_system_faults", 0, 100_000),
        ("file_system_pause_s", 1, 3600),
        ("free_percent", 0, 99),
        ("sender_recipients_per_minute", 0, 1_000_000),
        ("client_recipients_per_minute", 0, 1_000_000),
        ("domain_recipients_per_minute", 0, 1_000_000),
    ],
)
def test_limits_have_ends_themselves(tmp_path, key, minimum, maximum):
    for value in (minimum, maximum):
        limits_warnings(tmp_path, f"limits.{key}={value}")
    for value in (minimum - 1, maximum + 1):
        (problem,) = problems_of(tmp_path, "", MAILBOXES, setting(f"limits.{key}={value}"))
        assert problem.endswith(f"must be a whole number from {minimum} to {maximum}")
