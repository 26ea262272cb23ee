"""The whole server over several sources: each finds its own, and one that is down defers its own alone."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import maildirs
from tests.support.polling import wait_for
from tests.support.postfix import public_folder
from tests.support.postgresql import Postgresql
from tests.support.server import Server
from tests.support.slapd import ADMIN, BASE, Slapd
from tests.support.socketmap import SocketmapServer, socketmap_server

pytestmark = [pytest.mark.system, pytest.mark.xdist_group("recipient_sources")]

CONFIG = """
[aliases]
"info@sql.example" = "alice+Info@ldap.example"
[[recipients]]
source = "sql"
url = "{postgresql}"
query = "SELECT path AS maildir FROM members WHERE name = :user AND domain = :domain"
domains = ["sql.example"]
cache_s = 0
cache_unknown_s = 0
[[recipients]]
source = "ldap"
url = "{ldap}"
bind_dn = "{admin}"
bind_password_file = "{password_file}"
base = "{base}"
filter = "(mail={{address}})"
attributes = {{ home = "homeDirectory" }}
domains = ["ldap.example"]
[[recipients]]
source = "socketmap"
socket = "unix:{socketmap}"
map = "users"
result = "maildir"
domains = ["map.example"]
[[recipients]]
source = "file"
file = "{users}"
format = "toml"
[domains."ldap.example"]
detail = "create"
[domains."caught.example"]
catch_all = "bob@sql.example"
"""
BODY = b"Subject: x\r\n\r\n"


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    with public_folder("homes") as homes:
        yield homes


@pytest.fixture(scope="module")
def maps(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SocketmapServer]:
    answers = {"users carol@map.example": "OK map/carol/", "users busy@map.example": "TEMP busy"}
    with socketmap_server(tmp_path_factory.mktemp("maps") / "socket", answers) as server:
        yield server


@pytest.fixture(scope="module")
def server(
    database: Postgresql,
    directory: Slapd,
    maps: SocketmapServer,
    home: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Server]:
    database.execute(
        "CREATE TABLE members (name text, domain text, path text)",
        "INSERT INTO members VALUES ('bob', 'sql.example', 'sql/bob')",
    )
    directory.add(
        "uid=alice", ["inetOrgPerson", "posixAccount"], cn="a", sn="a", uid="alice", uidNumber=1000,
        gidNumber=8, homeDirectory=str(home), mail="alice@ldap.example",
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("server")
    (folder / "users").write_text('["dave@file.example"]\nmaildir = "file/dave"\n')
    os.utime(folder / "users", (1, 1))  # one that has just been written may not be complete
    config = CONFIG.format(
        postgresql=database.url, ldap=directory.unix_url, admin=ADMIN, password_file=directory.password_file,
        base=BASE, socketmap=maps.path, users=folder / "users",
    )  # fmt: skip
    with Server(folder, config=config, create=False) as server:
        yield server


def send(server: Server, *recipients: str) -> list[int]:
    with server.client() as client:
        return [reply.code for reply in client.deliver("s@example.org", recipients, BODY)]


def test_each_source_finds_its_own_in_one_transaction(server: Server, directory: Slapd):
    recipients = ["bob@sql.example", "alice@ldap.example", "carol@map.example", "dave@file.example"]

    assert send(server, *recipients, "eve@sql.example", "eve@nowhere.example") == [
        250,
        250,
        250,
        250,
        550,
        550,
    ]
    for path in ("sql/bob", "map/carol", "file/dave"):
        maildirs.only_message(server.mail / path)


def test_aliases_catch_all_and_details(server: Server, home: Path):
    before = len(maildirs.files(server.mail / "sql/bob"))

    assert send(server, "info@sql.example", "whoever@caught.example") == [250, 250]

    message = maildirs.only_message(home / "Maildir/.Info")
    assert message.delivered_to == "alice+Info@ldap.example"
    assert len(maildirs.files(server.mail / "sql/bob")) == before + 1


def test_a_source_that_is_down_defers_its_own_alone(server: Server, database: Postgresql):
    database.stop()
    try:
        codes = send(server, "bob@sql.example", "dave@file.example", "busy@map.example")
    finally:
        database.start()

    assert codes == [451, 250, 451]
    wait_for(lambda: "cause=lookup" in server.log, "the report, which follows the reply")
