"""`lmtpd check` has nothing to say against the examples that we document, on a machine as they need it."""

import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from lmtpd.__main__ import main
from tests.support.requirements import ROOT

_BLOCK = re.compile(r"^```toml\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_PATH = re.compile(r"(?<![\w.}*])/(?:etc|srv|var|big|run)/")
_HAS_PATH = re.compile(r"^\[mailboxes\]\npath", re.MULTILINE)
# A block that begins with an address is a file of users.
SOURCES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
EXAMPLES = [
    block for source in SOURCES for block in _BLOCK.findall(source.read_text()) if not block.startswith('["')
]
# Servers that this machine does not have, tables that it may have otherwise, users that it may lack.
ELSEWHERE = {
    "db.example.org": "127.0.0.1:1",
    "ldap.example.org": "127.0.0.1:1",
    "/usr/local/bin/on-mail": "/bin/true",
    '"hash:': '"texthash:',
    '"vmail"': '"daemon"',
    '"postfix"\n': '"daemon"\n',
    'source = "daemon"': 'source = "postfix"',
}
# Of a block that is a part of a file, of this machine, and of a server that is down.
EXPECTED = ("there is no listener", "server.run_as is not set", "cannot be asked now: ")


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """A short one: the path of a socket may have 107 octets."""
    with tempfile.TemporaryDirectory(prefix="lmtpd-") as folder:
        yield Path(folder)


@pytest.mark.parametrize("example", EXAMPLES)
def test_example_is_right(tmp_path, capsys, example):
    for name in ("srv/mail", "var/mail", "var/spool/postfix/private", "etc/postfix", "etc/lmtpd", "run"):
        (tmp_path / name).mkdir(parents=True)
    users = [f"{root}/{user}" for root in ("srv/mail/example.org", "big/mail") for user in ("alice", "bob")]
    for name in (*users, "etc/ssl/certs"):
        (tmp_path / name).mkdir(parents=True)
    for name in (
        "ssl/certs/ca-certificates.crt",
        "lmtpd/ldap-password",
        "lmtpd/crm.token",
        "postfix/vmailbox",
    ):
        (tmp_path / "etc" / name).touch()
    (tmp_path / "etc/lmtpd/users").write_text("alice:x:5000:5000::/srv/mail/alice::\n")
    text = example
    for ours, theirs in ELSEWHERE.items():
        text = text.replace(ours, theirs)
    file = tmp_path / "lmtpd.toml"
    file.write_text(_PATH.sub(lambda match: f"{tmp_path}{match[0]}", text))
    site = [] if _HAS_PATH.search(text) else ["--mailboxes", f"{tmp_path}/srv/mail/{{user}}"]

    code = main(["check", "--config", str(file), "--state", str(tmp_path), *site])

    lines = capsys.readouterr().err.splitlines()
    assert code == os.EX_OK, lines
    assert [line for line in lines if not any(expected in line for expected in EXPECTED)] == []
