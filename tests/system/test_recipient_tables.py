"""Postfix's lookup tables as a source, through the real postmap; and socketmap, spoken beside Postfix."""

import subprocess
from pathlib import Path

import pytest

from lmtpd.protocol.addresses import Address
from lmtpd.recipients.entry import Entry, EntryError
from lmtpd.recipients.lookup import LookupFailed, Question, SourceDown, SourceFaulty
from lmtpd.recipients.postfix_table import PostfixLookup
from lmtpd.recipients.socketmap import SocketmapLookup
from lmtpd.recipients.table_keys import Result
from tests.support.requirements import need, program
from tests.support.socketmap import socketmap_server

pytestmark = [pytest.mark.system, pytest.mark.xdist_group("recipient_sources")]


def asked(address: str, detail: str | None = None) -> Question:
    user, _, domain = address.rpartition("@")
    return Question(user, detail, domain)


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    need("postmap")
    folder = tmp_path_factory.mktemp("postfix")
    (folder / "main.cf").write_text("compatibility_level = 3.6\n")
    (folder / "vmailbox").write_text(
        "alice@example.org example.org/alice/\n"
        "alice+lists@example.org example.org/lists/\n"
        "@example.net /srv/all/\n"
        "mbox@example.org example.org/mbox\n"
        "-x@example.org example.org/x/\n"
    )
    (folder / "virtual").write_text("info@example.org alice@example.org, bob@example.org\n")
    for name in ("vmailbox", "virtual"):
        subprocess.run([program("postmap"), "-c", folder, f"hash:{folder}/{name}"], check=True)
    (folder / "pcre").write_text("/^(.*)@example\\.com$/ $1@example.org\n")
    return folder


def postfix(tables: Path, table: str, result: Result, **changes: object) -> PostfixLookup:
    command = str(changes.get("command", program("postmap")))
    return PostfixLookup(
        table.format(tables), result=result, timeout_s=5, command=command, config_directory=str(tables)
    )


def test_postfix_virtual_mailboxes(tables: Path):
    lookup = postfix(tables, "hash:{}/vmailbox", Result.MAILDIR)

    assert lookup.find(asked("alice@example.org")) == Entry(maildir="example.org/alice")
    assert lookup.find(asked("alice@example.org", "lists")) == Entry(maildir="example.org/lists")
    assert lookup.find(asked("alice@example.org", "other")) == Entry(maildir="example.org/alice")
    assert lookup.find(asked("whoever@example.net")) == Entry(maildir="/srv/all")
    assert lookup.find(asked("-x@example.org")) == Entry(maildir="example.org/x")
    assert lookup.find(asked("eve@example.org")) is None
    with pytest.raises(EntryError, match="mbox"):
        lookup.find(asked("mbox@example.org"))


def test_postfix_virtual_aliases(tables: Path):
    lookup = postfix(tables, "texthash:{}/virtual", Result.ALIAS)

    entry = lookup.find(asked("info@example.org"))

    assert entry == Entry(targets=(Address("alice", "example.org"), Address("bob", "example.org")))


def test_postfix_table_of_those_who_exist(tables: Path):
    lookup = postfix(tables, "hash:{}/vmailbox", Result.USER)

    assert lookup.find(asked("alice@example.org")) == Entry()
    assert lookup.find(asked("$(touch x)@example.org")) is None
    assert lookup.find(Question("-", None, "")) is None


@pytest.mark.parametrize(
    "table, why, kind",
    [
        ("hash:{}/missing", "No such file", SourceFaulty),
        ("nosuchtype:{}/vmailbox", "unsupported dictionary type", SourceFaulty),
        ("socketmap:unix:{}/nobody:map", "No such file|query error", SourceDown),
    ],
)
def test_postfix_tables_that_cannot_be_asked_are_no_answer(
    tables: Path, table: str, why: str, kind: type[SourceDown]
):
    with pytest.raises(SourceDown, match=why) as caught:
        postfix(tables, table, Result.USER).find(asked("alice@example.org"))

    assert caught.type is kind


def test_postmap_that_is_missing_or_hangs_is_no_answer(tables: Path, tmp_path: Path):
    hanging = tmp_path / "postmap"
    hanging.write_text("#!/bin/sh\nexec sleep 60\n")
    hanging.chmod(0o755)

    with pytest.raises(SourceDown, match="cannot be started"):
        postfix(tables, "hash:{}/virtual", Result.USER, command="/no/such").find(asked("a@b"))
    lookup = PostfixLookup("hash:/x", result=Result.USER, timeout_s=0.2, command=str(hanging))
    with pytest.raises(SourceDown, match="does not answer"):
        lookup.find(asked("a@b"))


def test_postfix_and_lmtpd_understand_the_same_socketmap_server(tables: Path, tmp_path: Path):
    answers = {"map alice@example.org": "OK /srv/alice/", "map temp@example.org": "TEMP busy"}
    with socketmap_server(tmp_path / "socket", answers) as server:
        postfix_asks = postfix(tables, f"socketmap:unix:{server.path}:map", Result.MAILDIR)
        lmtpd_asks = SocketmapLookup(str(server.path), "map", result=Result.MAILDIR, timeout_s=5)

        for lookup in (postfix_asks, lmtpd_asks):
            assert lookup.find(asked("alice@example.org")) == Entry(maildir="/srv/alice")
            assert lookup.find(asked("eve@example.org")) is None
            with pytest.raises(LookupFailed):
                lookup.find(asked("temp@example.org"))
            lookup.close()
