"""The page that all workers can read."""

import os

from lmtpd.server.board import SEATS, Board, Figures, Seat


def seated(board: Board) -> Seat:
    return Seat(board, board.take_seat())


def test_connections_are_counted_over_all_workers():
    board = Board()
    first, second = seated(board), seated(board)

    first.add()
    second.add()
    second.add()

    assert board.connections() == 3
    assert (first.connections, second.connections) == (1, 2)
    assert second.subtract() == 1
    assert board.connections() == 2


def test_crowded_means_more_than_the_limit():
    board = Board()
    first, second = seated(board), seated(board)
    for seat in (first, second, second):
        seat.add()

    assert [first.is_crowded(limit) for limit in (2, 3, 4)] == [True, False, False]


def test_a_worker_with_more_connections_than_another_lets_that_one_accept():
    board = Board()
    first, second = seated(board), seated(board)
    first.open()
    second.open()

    assert not first.has_more_than_its_share()
    first.add()
    assert first.has_more_than_its_share()
    assert not second.has_more_than_its_share()


def test_only_those_that_accept_count_for_the_share():
    board = Board()
    first, second = seated(board), seated(board)
    first.open()
    first.add()
    assert not first.has_more_than_its_share()  # the other is not open yet

    second.open()
    second.close()

    assert not first.has_more_than_its_share()


def test_the_seat_of_a_dead_worker_is_cleared_and_taken_again():
    board = Board()
    board.take_seat()
    number = board.take_seat()
    seat = Seat(board, number)
    seat.open()
    seat.add()

    board.clear_seat(number)

    assert board.connections() == 0
    assert board.take_seat() == number


def test_every_seat_can_be_taken():
    board = Board()

    assert [board.take_seat() for _ in range(SEATS)] == list(range(SEATS))


def test_figures_cross_a_fork():
    board = Board()
    mine, theirs = seated(board), board.take_seat()
    mine.add()
    pid = os.fork()
    if pid == 0:
        try:
            seat = Seat(board, theirs)
            seat.add()
            os._exit(0 if seat.is_crowded(1) else 1)
        finally:
            os._exit(2)

    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert board.connections() == 2


def test_seats_show_who_has_them_and_what_they_have_seen():
    board = Board()
    first, second = board.take_seat(), board.take_seat()
    Seat(board, first).open()
    Seat(board, first).add()
    Seat(board, second).add()
    Seat(board, second).subtract()

    assert board.seats() == [Figures(True, 1, 1, os.getpid()), Figures(False, 0, 1, 0)]

    board.clear_seat(first)
    assert board.seats()[0] == Figures(False, 0, 1, 0)


def test_each_seat_has_a_sheet_behind_the_supervisors():
    board = Board()
    seat = seated(board)

    board.tally.sheet(0).add(("a",))
    seat.sheet().add(("b",))

    assert board.tally.read() == [{("a",): 1.0}, {("b",): 1.0}]
