"""Reading what strace and the benchmark's own programs write."""

import os
from collections import Counter

import pytest

from tests.bench.measuring import family, memory, parse_summary, processor_s
from tests.bench.programs import Floor, RunFailed, compile_programs, run_together
from tests.support.requirements import need

TABLE = """\
% time     seconds  usecs/call     calls    errors syscall
------ ----------- ----------- --------- --------- ----------------
 60.00    0.000300           1       300           fsync
 40.00    0.000200           2       100        17 openat
------ ----------- ----------- --------- --------- ----------------
100.00    0.000500           1       400        17 total
"""


def test_table_of_strace_gives_the_calls_by_name():
    assert parse_summary(TABLE) == Counter(fsync=300, openat=100)


def test_table_that_is_not_there_yet_is_empty():
    assert not parse_summary("")


def test_our_own_process_uses_time_and_memory():
    assert os.getpid() in family(os.getpid())
    assert processor_s(os.getpid()) > 0
    assert memory(os.getpid()).largest > 1


def test_program_that_fails_says_why_and_leaves_none_behind():
    with pytest.raises(RunFailed, match="no such luck"):
        run_together([["sh", "-c", "echo no such luck >&2; exit 3"], ["sleep", "100"]])


def test_program_that_takes_too_long_is_ended():
    with pytest.raises(RunFailed, match="not done within 0 s"):
        run_together([["sleep", "100"]], deadline_s=0)


@pytest.mark.slow
def test_floor_stores_every_message(tmp_path):
    need("cc")

    timing = Floor(4, 20, 4096, 2).run(compile_programs(tmp_path).floor, tmp_path)

    assert timing.deliveries == 20
    assert timing.rate > 0
    stored = list(tmp_path.glob("u00000[01]/new/*"))
    assert len(stored) == 20
    assert {path.stat().st_size for path in stored} == {4096}
    assert not list(tmp_path.glob("u*/tmp/*"))
