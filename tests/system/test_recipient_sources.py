"""The sources with the real servers behind them: PostgreSQL, OpenLDAP, Postfix's postmap."""

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from lmtpd.protocol.addresses import Address
from lmtpd.recipients.entry import Entry, EntryError
from lmtpd.recipients.ldap import LdapLookup, LdapSettings
from lmtpd.recipients.lookup import LookupFailed, Question, SourceDown, SourceFaulty
from lmtpd.recipients.mailbox import MailboxOwner
from lmtpd.recipients.patience import NoAnswer, Patience
from lmtpd.recipients.postgresql import PostgresqlDatabase
from lmtpd.recipients.query import Query
from lmtpd.recipients.rules import Detail
from lmtpd.recipients.sql import SqlLookup
from storage.quota_limit import QuotaLimit
from tests.support.postgresql import Postgresql
from tests.support.slapd import ADMIN, BASE, Slapd

pytestmark = [pytest.mark.system, pytest.mark.xdist_group("recipient_sources")]

QUERY = """SELECT home, mail_path AS maildir, uid, gid, quota, detail, script FROM users
           WHERE address = :address AND active -- 100%"""


def asked(address: str, detail: str | None = None) -> Question:
    user, _, domain = address.rpartition("@")
    return Question(user, detail, domain)


# ---- PostgreSQL ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def filled(database: Postgresql) -> Postgresql:
    database.execute(
        """CREATE TABLE users (address text, home text, mail_path text, uid int, gid int, quota text,
           detail text, script text, active bool DEFAULT true)""",
        """INSERT INTO users VALUES
           ('alice@example.org', '/home/alice', '~/mail', 1000, 8, '2G', 'create', 's', true),
           ('bob@example.org', NULL, NULL, NULL, NULL, NULL, NULL, NULL, true)""",
        """INSERT INTO users (address, home) VALUES ('twice@example.org', '/a'),
           ('twice@example.org', '/b'), ('o''brien@example.org', '/home/o'),
           ('broken@example.org', 'relative')""",
        "CREATE TABLE aliases (address text, target text)",
        "INSERT INTO aliases VALUES ('info@example.org', 'a@x.org'), ('info@example.org', 'b@x.org')",
    )
    return database


@pytest.fixture
def users(filled: Postgresql) -> Iterator[SqlLookup]:
    lookup = sql(filled, QUERY)
    yield lookup
    lookup.close()


def sql(database: Postgresql, text: str, *, timeout_s: int = 5) -> SqlLookup:
    query = Query.parse(text)
    return SqlLookup(PostgresqlDatabase(database.url, query, timeout_s=timeout_s), query, {})


def test_postgresql_columns_are_what_is_known(users: SqlLookup):
    assert users.find(asked("alice@example.org")) == Entry(
        home="/home/alice", maildir="~/mail", owner=MailboxOwner(1000, 8), quota=QuotaLimit(2 << 30),
        detail=Detail.CREATE, script="s",
    )  # fmt: skip
    assert users.find(asked("bob@example.org")) == Entry()
    assert users.find(asked("eve@example.org")) is None


def test_postgresql_takes_parameters_as_values(users: SqlLookup):
    entry = users.find(asked("o'brien@example.org"))

    assert entry is not None
    assert entry.home == "/home/o"
    for injected in ("' OR '1'='1", "x'; DROP TABLE users; --", "%s", "\\", ":address"):
        assert users.find(asked(f"{injected}@example.org")) is None


def test_postgresql_rows_that_differ_or_cannot_be_read_are_no_answer(users: SqlLookup):
    with pytest.raises(LookupFailed, match="2 rows"):
        users.find(asked("twice@example.org"))
    with pytest.raises(EntryError, match="must be an absolute path"):
        users.find(asked("broken@example.org"))


def test_postgresql_rows_of_an_alias_are_its_targets(filled: Postgresql):
    lookup = sql(filled, "SELECT target AS alias FROM aliases WHERE address = :address")

    entry = lookup.find(asked("info@example.org"))

    assert entry == Entry(targets=(Address("a", "x.org"), Address("b", "x.org")))
    lookup.close()


@pytest.mark.parametrize(
    "query, why, kind",
    [
        ("SELECT home FROM userz WHERE address = :address", 'relation "userz" does not exist', SourceFaulty),
        ("SELECT home FROM users WHERE address == :address", "operator does not exist", SourceFaulty),
        ("DELETE FROM users WHERE address = :address", "read-only transaction", SourceFaulty),
        ("SELECT pg_sleep(60)::text AS home WHERE :address <> ''", "statement timeout", SourceDown),
    ],
)
def test_postgresql_queries_that_cannot_be_run_are_no_answer(
    filled: Postgresql, query: str, why: str, kind: type[SourceDown]
):
    with pytest.raises(SourceDown, match=why) as caught:
        sql(filled, query, timeout_s=1).find(asked("alice@example.org"))

    assert caught.type is kind


def test_postgresql_that_is_down_is_no_answer_and_is_found_again(database: Postgresql, users: SqlLookup):
    assert users.find(asked("bob@example.org")) == Entry()
    database.stop()
    try:
        with pytest.raises(SourceDown, match=r"connection|terminating|closed"):
            users.find(asked("bob@example.org"))
    finally:
        database.start()

    assert users.find(asked("bob@example.org")) == Entry()


def test_postgresql_restarted_between_two_questions_is_not_noticed(database: Postgresql, users: SqlLookup):
    assert users.find(asked("bob@example.org")) == Entry()
    database.stop()
    database.start()

    assert users.find(asked("bob@example.org")) == Entry()


def test_postgresql_that_hangs_is_not_waited_for(database: Postgresql, users: SqlLookup):
    users.find(asked("bob@example.org"))
    patience = Patience(at_once=2, wait_s=0.3)
    database.pause()
    try:
        with pytest.raises(NoAnswer):
            patience.call(lambda: users.find(asked("bob@example.org")))
    finally:
        database.resume()

    assert Patience(at_once=1, wait_s=10).call(lambda: users.find(asked("bob@example.org"))) == Entry()


# ---- OpenLDAP -----------------------------------------------------------------------------------

PERSON = ["inetOrgPerson", "posixAccount"]
FILTER = "(&(objectClass=inetOrgPerson)(mail={address}))"
ATTRIBUTES = {"home": "homeDirectory", "uid": "uidNumber", "gid": "gidNumber", "quota": "employeeType"}


@pytest.fixture(scope="module")
def people(directory: Slapd) -> Slapd:
    directory.add("ou=people", ["organizationalUnit"])
    for user, number in (("alice", 1000), ("bob", 1001), ("twin", 1002), ("star", 1003)):
        directory.add(
            f"uid={user},ou=people", PERSON, cn=user, sn=user, uid=user, uidNumber=number, gidNumber=8,
            homeDirectory=f"/home/{user}",
            mail=[f"{user if user != 'twin' else 'bob'}@example.org", f"{user}@example.net"],
        )  # fmt: skip
    directory.add(
        "cn=info,ou=people", ["inetOrgPerson"], cn="info", sn="info", mail="info@example.org",
        description=["alice@example.org", "b@x.org"], employeeType=["1G", "2G"],
    )  # fmt: skip
    return directory


Ldap = Callable[..., LdapLookup]


@pytest.fixture
def ldap(people: Slapd) -> Iterator[Ldap]:
    """Make lookups over the directory, which are closed in the end."""
    made: list[LdapLookup] = []
    settings = LdapSettings(
        url=people.unix_url,
        starttls=False,
        ca_file=None,
        bind_dn=ADMIN,
        bind_password_file=str(people.password_file),
        base=f"ou=people,{BASE}",
        scope="sub",
        filter=FILTER,
        attributes=ATTRIBUTES,
        timeout_s=5,
    )

    def make(**changes: Any) -> LdapLookup:
        made.append(LdapLookup(replace(settings, **changes)))
        return made[-1]

    yield make
    for lookup in made:
        lookup.close()


def test_ldap_attributes_are_what_is_known(directory: Slapd, ldap: Ldap):
    lookup = ldap()

    assert lookup.find(asked("alice@example.org")) == Entry(home="/home/alice", owner=MailboxOwner(1000, 8))
    assert lookup.find(asked("ALICE@example.net")) == Entry(home="/home/alice", owner=MailboxOwner(1000, 8))
    assert lookup.find(asked("eve@example.org")) is None
    lookup.close()


@pytest.mark.parametrize("user", ["*", "al*", "x)(mail=*", "\\2a", "alice)(", "\u00e9", "a\\"])
def test_ldap_takes_what_is_filled_in_as_a_value(directory: Slapd, ldap: Ldap, user: str):
    assert ldap().find(asked(f"{user}@example.org")) is None


def test_ldap_values_of_an_alias_are_its_targets(directory: Slapd, ldap: Ldap):
    lookup = ldap(attributes={"alias": "description"})

    entry = lookup.find(asked("info@example.org"))

    assert entry is not None
    assert entry.targets == (Address("alice", "example.org"), Address("b", "x.org"))


def test_ldap_without_attributes_says_that_there_is_a_user(directory: Slapd, ldap: Ldap):
    assert ldap(attributes={}).find(asked("alice@example.org")) == Entry()


def test_ldap_entries_and_values_that_are_too_many_are_no_answer(directory: Slapd, ldap: Ldap):
    with pytest.raises(LookupFailed, match="2 entries fit: uid="):
        ldap().find(asked("bob@example.org"))
    with pytest.raises(LookupFailed, match="entries fit"):
        ldap(filter="(|(mail={address})(uid=*))").find(asked("bob@example.org"))
    with pytest.raises(EntryError, match="employeeType has 2 values"):
        ldap().find(asked("info@example.org"))


def test_ldap_over_tcp_and_tls(directory: Slapd, ldap: Ldap):
    plain = ldap(url=directory.url)
    safe = ldap(url=directory.url, starttls=True, ca_file=str(directory.ca_file))

    for lookup in (plain, safe):
        assert lookup.find(asked("alice@example.org")) is not None
        lookup.close()


def test_ldap_with_a_certificate_that_nobody_knows_is_not_asked(directory: Slapd, ldap: Ldap):
    with pytest.raises(SourceDown, match=r"certificate|CERTIFICATE|tls"):
        ldap(url=directory.url, starttls=True).find(asked("alice@example.org"))


@pytest.mark.parametrize(
    "changes, why, kind",
    [
        ({"base": "dc=example,dc=net"}, "the base dc=example,dc=net is not there", SourceFaulty),
        ({"bind_dn": f"cn=eve,{BASE}"}, "invalidCredentials", SourceFaulty),
        ({"bind_password_file": "/no/such"}, "No such file", SourceFaulty),
        ({"filter": "(&(mail={address})"}, r"\(&\(mail", SourceFaulty),
        ({"url": "ldap://localhost:1"}, "refused", SourceDown),
    ],
)
def test_ldap_that_cannot_be_asked_is_no_answer(
    directory: Slapd, ldap: Ldap, changes: dict[str, object], why: str, kind: type[SourceDown]
):
    with pytest.raises(SourceDown, match=why) as caught:
        ldap(**changes).find(asked("alice@example.org"))

    assert caught.type is kind


def test_ldap_restarted_between_two_questions_is_not_noticed(directory: Slapd, ldap: Ldap):
    lookup = ldap(url=directory.url)
    assert lookup.find(asked("alice@example.org")) is not None
    directory.stop()
    with pytest.raises(SourceDown):
        lookup.find(asked("alice@example.org"))
    directory.start()

    assert lookup.find(asked("alice@example.org")) is not None
    directory.stop()
    directory.start()
    assert lookup.find(asked("alice@example.org")) is not None


def test_ldap_that_hangs_is_not_waited_for(directory: Slapd, ldap: Ldap):
    lookup = ldap(timeout_s=1)
    lookup.find(asked("alice@example.org"))
    began = time.monotonic()
    directory.pause()
    try:
        with pytest.raises(SourceDown):
            lookup.find(asked("alice@example.org"))
    finally:
        directory.resume()

    assert time.monotonic() - began < 8
    assert lookup.find(asked("alice@example.org")) is not None
