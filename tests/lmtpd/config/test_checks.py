"""What does not go together, and what works but may not be meant."""

import pwd

import pytest
import trustme

from lmtpd.config import ConfigError, Override, load, warnings
from tests.support.configs import MAILBOXES, setting


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

    load(None, [MAILBOXES, setting(f"tls.cert={tmp_path}/one"), setting(f"tls.key={tmp_path}/one")])
    with pytest.raises(ConfigError, match=r"cannot be used with the key .*mismatch"):
        load(None, [MAILBOXES, setting(f"tls.cert={tmp_path}/one"), setting(f"tls.key={tmp_path}/two")])


def test_certificate_in_a_directory_is_reported(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        load(None, [MAILBOXES, setting(f"tls.cert={tmp_path}"), setting(f"tls.key={tmp_path}")])


def test_only_root_may_run_as_another_user(monkeypatch):
    monkeypatch.setattr("os.geteuid", lambda: 12345)

    with pytest.raises(ConfigError, match="only root can become another user"):
        load(None, [MAILBOXES, setting("server.run_as=daemon")])

    monkeypatch.setattr("os.geteuid", lambda: pwd.getpwnam("daemon").pw_uid)
    assert load(None, [MAILBOXES, setting("server.run_as=daemon")]).server.run_as == "daemon"


@pytest.mark.parametrize(
    "flags, warning",
    [
        ([setting("delivery.commit=hold")], "delivery.commit = hold: mail is lost"),
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
