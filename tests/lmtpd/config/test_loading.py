"""The configuration as a whole: what is allowed, what is missing, every problem at once."""

import os
import pwd
from pathlib import Path

import pytest
import trustme

from lmtpd.config import (
    ConfigError,
    Need,
    Override,
    TcpListener,
    UnixListener,
    effective,
    load,
    written,
)
from tests.support.configs import MAILBOXES, from_text, problems_of, setting

EVERYTHING = """
hostname = "mx.example.org"
state = "{folder}"
[[listen]]
unix = "{folder}/lmtpd"
owner = "{me}"
group = "root"
mode = "0600"
[[listen]]
tcp = "127.0.0.1:24"
[[policy]]
unix = "{folder}/policy"
owner = "{me}"
group = "root"
mode = "0600"
[[socketmap]]
tcp = "127.0.0.1:2526"
[tls]
cert = "{folder}/both.pem"
key = "{folder}/both.pem"
[server]
workers = 3
connections = 500
run_as = "{me}"
xforward_from = ["127.0.0.0/8", "::1"]
[owners]
first_uid = 500
groups = ["mail"]
[limits]
message_octets = 104_857_600
recipients = 100
idle_s = 200
bad_commands = 20
min_octets_per_s = 50
mailbox_concurrency = 5
mailbox_slow_s = 3
file_system_faults = 6
file_system_pause_s = 10
free_octets = 1_000_000_000
free_percent = 2
free_inodes = 10_000
sender_recipients_per_minute = 100
client_recipients_per_minute = 200
domain_recipients_per_minute = 300
[mailboxes]
path = "/srv/mail/{{domain}}/{{user}}"
create = true
layout = "fs"
detail = "create"
delimiters = "+-"
fold_case = false
folder_names = "utf-8"
folder_levels = 3
subscribe = true
postmaster = "admin@example.org"
[[recipients]]
source = "maildirs"
[aliases]
"info@example.org" = ["a@example.org"]
[domains."example.org"]
catch_all = ["a@example.org"]
quota = "1G"
path = "/srv/mail/example.org/{{user}}"
create = true
layout = "fs"
detail = "inbox"
folder_names = "utf-7"
folder_levels = 4
subscribe = false
[delivery]
commit = "cancel"
durability = "data"
duplicates = "off"
loops = "deliver"
single_instance = "link"
deadline_s = 100
[submission]
sendmail = "/bin/true"
[quota]
default = "2G,100000M"
full = "defer 3d"
folders = ["Trash:+100M", "Spam:ignore"]
deleted = "free"
warnings = ["80%", "95%"]
warning_command = "/bin/true"
watch = 10
sample_s = 3600
[ledger]
url = "sqlite:///var/lib/lmtpd/other.db"
on_failure = "deliver"
history_days = 3
history_octets = 1_000_000_000
[log]
format = "json"
target = "journal"
[metrics]
serve = false
unix = "{folder}/metrics"
mode = "0666"
"""


def test_flags_alone_are_enough():
    flags = [
        Override("--listen", "unix:/run/lmtpd.sock"),
        Override("--listen", "tcp:127.0.0.1:24"),
        MAILBOXES,
        Override("--create", "true"),
        Override("--state", "/var/lib/elsewhere"),
        Override("--workers", "4"),
    ]

    config = load(None, flags, needs={Need.LISTENER, Need.MAILBOXES})

    assert list(map(str, config.listen)) == ["unix:/run/lmtpd.sock", "tcp:127.0.0.1:24"]
    assert config.template.text == "/srv/mail/{domain}/{user}"
    assert config.mailboxes.create is True
    assert config.state == "/var/lib/elsewhere"
    assert config.ledger_path == Path("/var/lib/elsewhere/ledger.db")
    assert config.history_path == Path("/var/lib/elsewhere/history.db")
    assert config.server.workers == 4
    assert config.file is None


def test_every_key_of_the_contract_is_known(tmp_path):
    authority = trustme.CA()
    certificate = authority.issue_cert("mx.example.org")
    certificate.private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "both.pem"))
    me = pwd.getpwuid(os.geteuid()).pw_name

    config = from_text(
        tmp_path,
        EVERYTHING.format(folder=tmp_path, me=me),
        needs=frozenset(Need),
    )

    unix, tcp = config.listen
    assert isinstance(unix, UnixListener)
    assert (unix.uid, unix.gid, unix.mode) == (os.geteuid(), 0, 0o600)
    assert isinstance(tcp, TcpListener)
    assert (tcp.host, tcp.port) == ("127.0.0.1", 24)
    assert config.ledger_path == Path("/var/lib/lmtpd/other.db")
    assert config.postmaster == "admin@example.org"
    defaults = [key for path, _ in effective(config) if config.sources[key := written(path)] == "default"]
    # The first stands alone, the others exclude submission.sendmail and metrics.unix; events is a list.
    assert defaults == ['domains."example.org".same_as', "submission.smtp", "events", "metrics.tcp"]


def test_paths_count_from_the_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    config = load(
        None,
        [Override("--mailboxes", "mail/{user}"), Override("--listen", "unix:run/sock"), setting("state=s")],
    )

    assert (config.template.root, config.template.parts) == (f"{tmp_path}/mail", ("{user}",))
    assert [str(each) for each in config.listen] == [f"unix:{tmp_path}/run/sock"]
    assert config.state == f"{tmp_path}/s"


def test_all_problems_are_reported_at_once_in_the_order_of_the_file(tmp_path):
    text = """\
hostname = "mx.example.org"
worker = 3
[[listen]]
unix = "/run/lmtpd"
mode = 660
[[listen]]
tcp = "127.0.0.1:25"
[limits]
recipients = 0
idle_s = "300"
[delivery]
commit = "chekked"
"""

    found = problems_of(
        tmp_path, text, Override("--workers", "four"), setting("log.target=jurnal"), needs=frozenset(Need)
    )

    assert [line.split(": ")[0] + ": " + line.split(": ")[1] for line in found] == [
        "lmtpd.toml: mailboxes.path",
        "lmtpd.toml:2: worker = 3",
        "lmtpd.toml:5: listen[0].mode = 660",
        'lmtpd.toml:7: listen[1].tcp = "127.0.0.1:25"',
        "lmtpd.toml:9: limits.recipients = 0",
        'lmtpd.toml:10: limits.idle_s = "300"',
        'lmtpd.toml:12: delivery.commit = "chekked"',
        '--set: log.target = "jurnal"',
        '--workers: server.workers = "four"',
    ]


def test_problem_names_place_value_and_what_is_allowed(tmp_path):
    with pytest.raises(ConfigError) as caught:
        from_text(tmp_path, "[limits]\nrecipients = 0\n")

    (problem,) = caught.value.problems
    assert problem.place == f"{tmp_path}/lmtpd.toml:2: limits.recipients"
    assert problem.value == "0"
    assert problem.message == "must be a whole number from 1 to 100000"
    assert str(caught.value) == str(problem)


def test_a_long_value_is_cut_in_the_message(tmp_path):
    (found,) = problems_of(tmp_path, f'hostname = "{"x" * 1000}"')

    assert len(found) < 300
    assert "xxx...: must be a host name" in found


def test_wrong_values_do_not_hide_what_is_missing_elsewhere(tmp_path):
    found = problems_of(tmp_path, "[limits]\nrecipients = 0", needs=frozenset(Need))

    assert [line.split(": ")[1] for line in found] == ["listen", "mailboxes.path", "limits.recipients = 0"]


def test_wrong_key_is_not_reported_as_missing_as_well(tmp_path):
    text = '[mailboxes]\npath = "/srv"\n[[listen]]\ntcp = "x"\n[server]\nworkers = 0\nconnections = 1'

    found = problems_of(tmp_path, text, needs=frozenset(Need))

    assert [line.split(": ")[1].split(" =")[0] for line in found] == [
        "mailboxes.path",
        "listen[0].tcp",
        "server.workers",
    ]


def test_nothing_given_at_all_says_what_to_write():
    with pytest.raises(ConfigError) as caught:
        load(None, [], needs=frozenset(Need))

    listen, mailboxes = map(str, caught.value.problems)
    assert "--listen unix:PATH or --listen tcp:HOST:PORT" in listen
    assert "--mailboxes '/srv/mail/{domain}/{user}'" in mailboxes


def test_file_is_remembered(tmp_path):
    config = from_text(tmp_path, "")

    assert config.file == tmp_path / "lmtpd.toml"
