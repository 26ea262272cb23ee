import asyncio
import sqlite3
from contextlib import closing

import pytest
from datasette.app import Datasette
from datasette.database import QueryInterrupted

from lmtpd.web.database import HistoryDatabase
from storage.history import History, HistoryRow
from tests.support.histories import generate

ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n"


def asked(path, sql, **options):
    database = HistoryDatabase(Datasette([]), path)
    return [tuple(row) for row in asyncio.run(database.execute(sql, log_sql_errors=False, **options)).rows]


def test_reads_beside_a_writer_and_sees_what_it_added(tmp_path):
    path = tmp_path / "history.db"
    with closing(History(path)) as history:
        for count in (1, 2):
            history.add([HistoryRow(at=1.0, outcome="delivered")])
            assert asked(path, "SELECT count(*) FROM history") == [(count,)]


@pytest.mark.parametrize("sql", ["DELETE FROM history_0", "CREATE TABLE x (y)", "PRAGMA user_version = 7"])
def test_writes_nothing(tmp_path, sql):
    path = tmp_path / "history.db"
    generate(path, 10)

    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        asked(path, sql)


def test_question_without_end_is_ended_and_the_writer_goes_on(tmp_path):
    path = tmp_path / "history.db"
    generate(path, 10)

    with pytest.raises(QueryInterrupted):
        asked(path, ENDLESS, custom_time_limit=50)
    with closing(History(path, busy_timeout_s=0)) as history:
        history.add([HistoryRow(at=1.0, outcome="delivered")])
