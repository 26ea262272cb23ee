"""Connections that are kept."""

import pytest

from lmtpd.recipients.pool import ConnectionLost, Pool


class Made:
    """Connections with numbers."""

    def __init__(self) -> None:
        self.count = 0
        self.closed: list[int] = []

    def connect(self) -> int:
        self.count += 1
        return self.count

    def close(self, connection: int) -> None:
        self.closed.append(connection)
        raise OSError("it was broken anyway")


def test_a_connection_is_kept_while_it_serves():
    made = Made()
    pool = Pool(made.connect, made.close)

    assert [pool.use(lambda number: number) for _ in range(3)] == [1, 1, 1]
    assert pool.use(lambda number: pool.use(lambda other: (number, other))) == (1, 2)

    pool.close()
    assert sorted(made.closed) == [1, 2]


def test_one_that_was_lost_while_idle_is_replaced_once():
    made = Made()
    pool = Pool(made.connect, made.close)
    pool.use(lambda number: number)

    def lost_if_first(number: int) -> int:
        if number == 1:
            raise ConnectionLost
        return number

    assert pool.use(lost_if_first) == 2
    assert made.closed == [1]


def test_a_fresh_one_that_is_lost_is_the_end():
    made = Made()

    def lost(number: int) -> int:
        raise ConnectionLost(str(number))

    with pytest.raises(ConnectionLost, match="1"):
        Pool(made.connect, made.close).use(lost)
    assert made.count == 1


def test_other_failures_are_not_tried_again_and_cost_the_connection():
    made = Made()
    pool = Pool(made.connect, made.close)
    pool.use(lambda number: number)

    with pytest.raises(ZeroDivisionError):
        pool.use(lambda number: number // 0)

    assert made.closed == [1]
    assert pool.use(lambda number: number) == 2
