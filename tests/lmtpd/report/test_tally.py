"""Counters of several processes."""

import os
import resource

import pytest

from lmtpd.report.tally import OVERFLOW, SLOTS, Sheet, Tally


def test_sheets_are_read_together():
    tally = Tally()
    tally.hold(2)
    first, second = tally.sheet(0), tally.sheet(1)

    first.add(("deliveries", "delivered"))
    first.add(("deliveries", "delivered"), 2)
    second.add(("deliveries", "delivered"))
    second.set(("last",), 1.5)

    assert tally.read() == [
        {("deliveries", "delivered"): 3.0},
        {("deliveries", "delivered"): 1.0, ("last",): 1.5},
    ]


def test_figures_of_a_process_survive_it_and_its_successor_counts_on():
    tally = Tally()
    tally.hold(1)
    for _ in range(2):
        pid = os.fork()
        if pid == 0:
            try:
                sheet = tally.sheet(0)
                sheet.add(("a", "1"))
                sheet.add(("b", str(os.getpid())))
            finally:
                os.kill(os.getpid(), 9)
        os.waitpid(pid, 0)

    (found,) = tally.read()
    assert found["a", "1"] == 2
    assert len(found) == 3


def test_room_is_made_while_others_count():
    tally = Tally()
    tally.hold(1)
    first = tally.sheet(0)
    first.add(("a",))

    tally.hold(3)
    tally.hold(2)
    tally.sheet(2).add(("b",))
    first.add(("a",))

    assert tally.read() == [{("a",): 2.0}, {}, {("b",): 1.0}]


def test_sheet_that_there_is_no_room_for_counts_for_itself():
    tally = Tally()

    sheet = tally.sheet(0)
    sheet.add(("a",))

    assert sheet.read() == {("a",): 1.0}
    assert tally.read() == []


def test_room_that_the_system_refuses_is_no_error():
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            tally = Tally()
            resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
            tally.hold(1)
            tally.sheet(0).add(("a",))
            code = 0 if tally.read() == [] else 2
        finally:
            os._exit(code)

    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


@pytest.mark.parametrize("more", [0, 1, 50])
def test_what_finds_no_slot_is_counted_all_the_same(more):
    sheet = Sheet()

    for number in range(SLOTS - 1 + more):
        sheet.add(("number", str(number)))
        sheet.add(("number", str(number)))

    found = sheet.read()
    assert found.get(OVERFLOW, 0) == 2 * more
    assert sum(found.values()) == 2 * (SLOTS - 1 + more)


def test_longest_key():
    sheet = Sheet()

    sheet.add(("x" * 55,))

    assert sheet.read() == {("x" * 55,): 1.0}
    with pytest.raises(ValueError, match="55 octets"):
        sheet.add(("x" * 56,))
