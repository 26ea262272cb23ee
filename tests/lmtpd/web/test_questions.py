import sqlite3
from contextlib import closing

import pytest

from lmtpd.web.questions import CANNED
from tests.support.histories import generate


@pytest.mark.parametrize("name", CANNED)
@pytest.mark.parametrize("hours", ["24", ""])
def test_questions_find_rows_by_the_index_on_time(tmp_path, name, hours):
    generate(tmp_path / "history.db", 3000)
    values = {"hours": hours, "step": 1}
    with closing(sqlite3.connect(tmp_path / "history.db")) as connection:
        rows = connection.execute(CANNED[name][1], values).fetchall()
        plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {CANNED[name][1]}", values)]

    assert rows
    assert not [step for step in plan if step.startswith("SCAN history_")]
    assert [step for step in plan if "(at>?)" in step]


def test_deliveries_count_every_row_once(tmp_path):
    generate(tmp_path / "history.db", 3000, days=0.99)
    with closing(sqlite3.connect(tmp_path / "history.db")) as connection:
        rows = connection.execute(CANNED["deliveries"][1], {"hours": "24"}).fetchall()

    assert sum(count for *_, count in rows) == 3000
    assert {slot for slot, *_ in rows} == set(range(48))
