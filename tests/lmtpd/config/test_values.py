"""Single values: the words, the limits at n-1, n and n+1, and a table of everything that is wrong."""

from pathlib import Path

import pytest

from lmtpd.config import ConfigError, Override, load, values
from tests.support.configs import MAILBOXES, problems_of, setting

NUMBERS = {
    "server.workers": (1, 256),
    "server.connections": (2, 100_000),  # as there are two workers
    "limits.message_octets": (1, 2**40),
    "limits.recipients": (1, 100_000),
    "limits.idle_s": (1, 86_400),
    "limits.bad_commands": (1, 1000),
    "delivery.deadline_s": (1, 540),
    "ledger.history_days": (1, 3650),
    "ledger.history_octets": (2**20, 2**50),
}


@pytest.mark.parametrize("key", NUMBERS)
@pytest.mark.parametrize("end", [0, 1], ids=["minimum", "maximum"])
def test_numbers_at_their_limits_and_one_past(key, end):
    limit = NUMBERS[key][end]
    inside, outside = (limit + 1, limit - 1) if end == 0 else (limit - 1, limit + 1)

    for value in (limit, inside):
        load(None, [MAILBOXES, setting(f"{key}={value}")])
    with pytest.raises(ConfigError, match=key):
        load(None, [MAILBOXES, setting(f"{key}={outside}")])


@pytest.mark.parametrize("key", NUMBERS)
@pytest.mark.parametrize("value", ["true", "1.5", '"3"', "[3]", "", "1e3", "0x", "unlimited"])
def test_numbers_are_whole_numbers(key, value):
    with pytest.raises(ConfigError, match="must be a whole number from"):
        load(None, [MAILBOXES, setting(f"{key}={value}")])


WORDS = {
    "mailboxes.layout": ["maildir++", "fs"],
    "mailboxes.detail": ["inbox", "existing", "create"],
    "delivery.commit": ["immediate", "checked", "cancel", "hold"],
    "delivery.durability": ["full", "data", "none"],
    "delivery.duplicates": ["unconfirmed", "off"],
    "ledger.on_failure": ["defer", "deliver"],
    "log.format": ["text", "json"],
    "log.target": ["stderr", "journal"],
}


@pytest.mark.parametrize("key, words", WORDS.items())
def test_words_are_those_of_the_contract(key, words):
    for word in words:
        load(None, [MAILBOXES, setting(f"{key}={word}")])

    with pytest.raises(ConfigError) as caught:
        load(None, [MAILBOXES, setting(f"{key}=other")])
    assert all(f'"{word}"' in caught.value.problems[0].message for word in words)


WRONG = [
    ("hostname = 3", "hostname = 3: must be a string, not a number"),
    ('hostname = ""', 'hostname = "": must not be empty'),
    ('hostname = "a b"', 'hostname = "a b": must be a host name such as'),
    ('hostname = "a/b"', 'hostname = "a/b": must be a host name such as'),
    ('hostname = "-a"', 'hostname = "-a": must be a host name such as'),
    ('hostname = "a..b"', 'hostname = "a..b": must be a host name such as'),
    ('hostname = "a\\nb"', 'hostname = "a\\nb": must not contain control characters'),
    ('state = ""', 'state = "": must not be empty'),
    ('state = "/dev/null"', 'state = "/dev/null": is not a directory'),
    ("state = '~/lmtpd'", "must be written without ~"),
    ("[mailboxes]\npath = '~/{user}'", "must be written without ~"),
    ("state = 2026-11-24", 'state = "2026-11-24": must be a string, not a date or time'),
    ('listen = "unix:/x"', 'listen = "unix:/x": must be a list of tables: begin each with [[listen]]'),
    ("[listen]\nunix='/x'", 'listen = {"unix": "/x"}: must be a list of tables: begin each with [[listen]]'),
    ("listen = [3]", 'listen[0] = 3: must be a table with either unix = "PATH" or tcp = "HOST:PORT"'),
    ("[[listen]]", 'listen[0] = {}: must be a table with either unix = "PATH" or tcp = "HOST:PORT"'),
    ("[[listen]]\nmode='0600'", 'listen[0] = {"mode": "0600"}: must be a table with either unix'),
    ("[[listen]]\nunix='/x'\ntcp='a:24'", "must be a table with either unix"),
    ("[[listen]]\ntcp='a:24'\nmode='0600'", 'listen[0].mode = "0600": belongs to unix sockets only'),
    ("[[listen]]\nunix='/x'\nmod='0600'", 'listen[0].mod = "0600": unknown key, did you mean "listen.mode"?'),
    ("[[listen]]\nunix=3", "listen[0].unix = 3: must be a string, not a number"),
    ("[[listen]]\nunix='/x'\nowner='nobody-has-this-name'", "there is no such user on this machine"),
    ("[[listen]]\nunix='/x'\ngroup='nobody-has-this-name'", "there is no such group on this machine"),
    ("[[listen]]\nunix='/x'\nmode=0o660", 'must be three octal digits in quotes, such as "0660"'),
    ("[[listen]]\nunix='/x'\nmode='0668'", "must be three octal digits"),
    ("[[listen]]\nunix='/x'\nmode='4660'", "must be three octal digits"),
    ("[[listen]]\ntcp='127.0.0.1'", "must be HOST:PORT"),
    ("[[listen]]\ntcp='::1:24'", "must be HOST:PORT"),
    ("[[listen]]\ntcp='[::x]:24'", "must have an IPv6 address between the brackets"),
    ("[[listen]]\ntcp='[]:24'", "must have an IPv6 address between the brackets"),
    ("[[listen]]\ntcp=':24'", "must name the host"),
    ("[[listen]]\ntcp='a:65536'", "must have a port from 0 to 65535"),
    ("[[listen]]\ntcp='[::1]:25'", "must not be served on port 25 (RFC 2033 5)"),
    ("[[listen]]\ntcp='a:0025'", "must not be served on port 25 (RFC 2033 5)"),
    ("[[listen]]\ntcp='a:24'\n[[listen]]\ntcp='a:024'", "listen[1]: tcp:a:24 is listed twice"),
    ("tls = true", "tls = true: must be a table, not a boolean: write [tls] and its keys below"),
    ("[tls]\ncert='/dev/null'", "tls.key: is missing; TLS needs both cert and key"),
    ("[tls]\nkey='/dev/null'", "tls.cert: is missing; TLS needs both cert and key"),
    ("[server]\nworkers = 3\nconnections = 2", "must be at least one for each of the 3 workers"),
    ("[owners]\nfirst_uid = 0", "must be"),
    ("[owners]\ngroups = ['nobody-has-this-name']", "there is no such group on this machine"),
    ("[server]\nrun_as = 'nobody-has-this-name'", "there is no such user on this machine"),
    ("[server]\nxforward_from = '127.0.0.1'", "must be a list, not a string"),
    ("[server]\nxforward_from = ['127.0.0.1/8']", 'did you mean "127.0.0.0/8"?'),
    ("[server]\nxforward_from = ['mx']", 'server.xforward_from[0] = "mx": must be a network such as'),
    (
        "[server]\nwokers = 1",
        'unknown key, did you mean "server.workers"? Allowed in [server]: workers, connections,',
    ),
    (
        "[serve]\nworkers = 1",
        'serve = {"workers": 1}: unknown key, did you mean "server"? Allowed at the top level',
    ),
    ("recipients = 10", "must be a list of tables: begin each with [[recipients]]"),
    ("idle_s = 10", 'unknown key, did you mean "limits.idle_s"?'),
    ("xyzzy = 10", "unknown key, and nothing like it is known. Allowed at the top level: hostname, state"),
    ("[limits]\nlimits = 1", "limits.limits = 1: unknown key"),
    ("[limits.recipients]\nx = 1", 'limits.recipients = {"x": 1}: must be a whole number'),
    ("[mailboxes]\ncreate = 'yes'", "must be true or false"),
    ("[mailboxes]\ncreate = 1", "must be true or false"),
    ("[mailboxes]\npath = '/srv/mail'", "must contain {user}"),
    ("[mailboxes]\npath = '/srv/{home}/{user}'", "{home} is unknown: only {user}, {domain} and {detail}"),
    ("[mailboxes]\npath = '/srv/{user}/{}'", "{} is unknown"),
    ("[mailboxes]\npath = '/srv/{user}/{'", "has a brace without its partner"),
    ("[mailboxes]\npath = '/srv/{{user}}'", "has a brace without its partner"),
    ("[mailboxes]\npath = '/srv/{user}/../x'", 'must not contain ".." behind a placeholder'),
    ("[mailboxes]\ndelimiters = '++'", "must be different ASCII punctuation characters"),
    ("[mailboxes]\ndelimiters = '@'", "must be different ASCII punctuation characters"),
    ("[mailboxes]\ndelimiters = ' '", "must be different ASCII punctuation characters"),
    ("[mailboxes]\ndelimiters = 'x'", "must not contain letters or digits"),
    ("[mailboxes]\npostmaster = 'postmaster'", "must be a full address"),
    ("[mailboxes]\npostmaster = '<a@b>'", "must be a full address"),
    ("[mailboxes]\npostmaster = 'a@b@'", "must be a full address"),
    ("[[recipients]]\nsource = 'nis'", 'recipients[0].source = "nis": must be "maildirs"'),
    ("[[recipients]]", "recipients[0].source: is missing"),
    (
        "[[recipients]]\nsource='maildirs'\n[[recipients]]\nsource='maildirs'",
        'recipients[1] = "maildirs": is listed twice',
    ),
    ("[quota]\ndefault = '2X'", 'must be a size, and behind a comma a number of messages, such as "2G"'),
    ("[quota]\ndefault = false", "must be a string, not a boolean"),
    ("[quota]\nfull = 'bounce'", 'must be "defer" (452), "reject" (552), or "defer 3d"'),
    ("[quota]\nfull = 'defer 0d'", 'must be "defer" (452), "reject" (552), or "defer 3d"'),
    ("[quota]\nfull = 3", 'must be "defer" (452), "reject" (552), or "defer 3d"'),
    ("[quota]\nfolders = ['Trash']", 'must be a folder and its rule, such as "Trash:+100M"'),
    ("[quota]\nfolders = ['A//B:ignore']", 'must be a folder and its rule, such as "Trash:+100M"'),
    ("[quota]\nfolders = ['inbox:ignore']", 'must be a folder and its rule, such as "Trash:+100M"'),
    ("[quota]\nfolders = ['Trash:100M']", 'must end in ":ignore" or in ":+" and a limit'),
    ("[quota]\nfolders = ['Trash:+0']", "adds nothing to the limit"),
    ("[quota]\ndeleted = 'no'", 'must be "counted" or "free"'),
    ("[quota]\nwarnings = [80]", 'must be a share of the limit from "1%" to "100%", in quotes'),
    ("[quota]\nwarnings = ['101%']", 'must be a share of the limit from "1%" to "100%", in quotes'),
    ("[quota]\nwarnings = '80%'", "must be a list, not a string"),
    ("[quota]\nwatch = 1001", "must be a whole number from 0 to 1000"),
    ("[quota]\nwarning_command = ''", "must not be empty"),
    ("[ledger]\nurl = 'postgresql://db/lmtpd'", "a PostgreSQL ledger is not available in this version"),
    ("[ledger]\nurl = '/var/lib/x.db'", "must be sqlite:///PATH"),
    ("[ledger]\nurl = 'sqlite:///'", "must be sqlite:///PATH"),
    ("[ledger]\nurl = 'sqlite://x'", "must be sqlite:///PATH"),
    ("[log]\ntarget = 'Journal'", 'must be "stderr" or "journal"; did you mean "journal"?'),
]


@pytest.mark.parametrize("text, message", WRONG, ids=[text for text, _ in WRONG])
def test_wrong_value_is_one_problem_that_says_what_is_allowed(tmp_path, text, message):
    (found,) = problems_of(tmp_path, text)

    assert message in found
    assert found.startswith("lmtpd.toml:")


def test_ledger_may_be_written_with_four_slashes():
    config = load(None, [MAILBOXES, setting("ledger.url=sqlite:////var/lib/x.db")])

    assert config.ledger_path == Path("/var/lib/x.db")


@pytest.mark.parametrize("octets, fits", [(106, True), (107, True), (108, False)])
def test_length_of_a_socket_path(octets, fits):
    flags = [MAILBOXES, Override("--listen", "unix:/" + "x" * (octets - 1))]

    if fits:
        load(None, flags)
    else:
        with pytest.raises(ConfigError, match="must be at most 107 octets long"):
            load(None, flags)


@pytest.mark.parametrize("octets, fits", [(254, True), (255, True), (256, False)])
def test_length_of_a_host_name(octets, fits):
    name = ("x" * 63 + ".") * 3 + "y" * (octets - 3 * 64 - 2) + ".z"
    name = (
        name
        if len(name.split(".")[3]) <= 63
        else ("x" * 63 + ".") * 3 + "y" * 61 + "." + "z" * (octets - 254)
    )
    assert len(name) == octets

    if fits:
        load(None, [MAILBOXES, setting(f"hostname={name}")])
    else:
        with pytest.raises(ConfigError, match="at most 255 octets"):
            load(None, [MAILBOXES, setting(f"hostname={name}")])


@pytest.mark.parametrize("port, fits", [(0, True), (24, True), (26, True), (65535, True), (65536, False)])
def test_ports(port, fits):
    flags = [MAILBOXES, Override("--listen", f"tcp:[::1]:{port}")]

    if fits:
        (listener,) = load(None, flags).listen
        assert str(listener) == f"tcp:[::1]:{port}"
    else:
        with pytest.raises(ConfigError, match="from 0 to 65535"):
            load(None, flags)


@pytest.mark.parametrize("given", ["192.0.2.1:9824", "0.0.0.0:9824", "[::]:9824", "example.org:9824"])
def test_metrics_do_not_leave_the_machine(given):
    with pytest.raises(ValueError, match="loopback"):
        values.loopback(given)
