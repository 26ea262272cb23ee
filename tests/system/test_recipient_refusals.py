"""A PostgreSQL that will not have us is a mistake to mend; one that is down, or full, is not."""

import pytest

from lmtpd.recipients.lookup import Question, SourceDown, SourceFaulty
from lmtpd.recipients.postgresql import PostgresqlDatabase
from lmtpd.recipients.query import Query
from lmtpd.recipients.sql import SqlLookup
from tests.support.postgresql import Postgresql

pytestmark = [pytest.mark.system, pytest.mark.xdist_group("recipient_sources")]

QUERY = Query.parse("SELECT '/x' AS home WHERE :user <> ''")
ALICE = Question("alice", None, "example.org")


@pytest.fixture(scope="module")
def cautious(database: Postgresql) -> Postgresql:
    """With a role that needs its password, and a database that this may not enter."""
    database.ask_for_password("cautious", "right")
    database.execute("CREATE DATABASE closed", "REVOKE CONNECT ON DATABASE closed FROM PUBLIC")
    return database


@pytest.mark.parametrize(
    "url, why",
    [
        ("postgresql://cautious:wrong@/postgres?host={folder}", "password authentication failed"),
        ("postgresql://cautious@/postgres?host={folder}", "no password supplied"),
        ("postgresql://nobody_here@/postgres?host={folder}", 'role "nobody_here" does not exist'),
        ("postgresql://postgres@/no_such?host={folder}", 'database "no_such" does not exist'),
        ("postgresql://cautious:right@/closed?host={folder}", "permission denied for database"),
    ],
)
def test_postgresql_that_refuses_a_connection_is_told_from_one_that_is_down(
    cautious: Postgresql, url: str, why: str
):
    refused = SqlLookup(PostgresqlDatabase(url.format(folder=cautious.folder), QUERY, timeout_s=5), QUERY, {})

    with pytest.raises(SourceFaulty, match=why):
        refused.find(ALICE)


def test_postgresql_that_has_no_room_for_one_more_is_down(cautious: Postgresql):
    cautious.execute("ALTER ROLE cautious CONNECTION LIMIT 0")
    url = cautious.url_of("cautious", "right")
    try:
        with pytest.raises(SourceDown, match="too many connections for role") as caught:
            SqlLookup(PostgresqlDatabase(url, QUERY, timeout_s=5), QUERY, {}).find(ALICE)
    finally:
        cautious.execute("ALTER ROLE cautious CONNECTION LIMIT -1")

    assert caught.type is SourceDown
