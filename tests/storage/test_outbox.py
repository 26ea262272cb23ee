"""What we owe, written down."""

import multiprocessing
from collections.abc import Sequence
from pathlib import Path

import pytest

from storage.outbox import Outbox, OutboxError, OutboxFull, Outgoing
from tests.support.clocks import Clock

K1, K2, K3 = b"1" * 32, b"2" * 32, b"3" * 32
TO = "asker@example.org"


class Text:
    """A message that names the places it is about."""

    def __init__(self) -> None:
        self.asked = 0

    def __call__(self, places: Sequence[int]) -> bytes:
        self.asked += 1
        return f"about {list(places)}\r\n".encode()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def outbox(tmp_path, clock):
    outbox = Outbox(tmp_path / "outbox.db", clock=clock)
    yield outbox
    outbox.close()


def take(outbox: Outbox) -> list[Outgoing]:
    return outbox.take_due(lease_s=600, at_most=10)


def test_what_is_owed_is_due_at_once(outbox):
    assert outbox.owe(TO, [K1, K2], Text())

    (one,) = take(outbox)
    assert (one.recipient, one.message, one.attempts) == (TO, b"about [0, 1]\r\n", 0)


def test_nothing_is_owed_twice_for_one_key(outbox):
    outbox.owe(TO, [K1], Text())
    text = Text()

    assert not outbox.owe(TO, [K1], text)
    assert outbox.owe(TO, [K1, K2], text)

    assert [each.message for each in take(outbox)] == [b"about [0]\r\n", b"about [1]\r\n"]
    assert text.asked == 1


def test_what_was_sent_stays_known_until_it_is_pruned(outbox, clock):
    outbox.owe(TO, [K1], Text())
    outbox.done(take(outbox)[0])
    clock.now += 100

    outbox.prune(200)
    still = outbox.owe(TO, [K1], Text())
    outbox.prune(50)

    assert not still
    assert outbox.owe(TO, [K1], Text())


def test_what_is_taken_is_nobody_elses_until_the_lease_ends(outbox, clock):
    outbox.owe(TO, [K1], Text())

    first, meanwhile = take(outbox), take(outbox)
    due_in_s = outbox.due_in_s()
    clock.now += 600
    later = take(outbox)

    assert (len(first), meanwhile, due_in_s) == (1, [], 600)
    assert later == first


def test_what_is_done_is_gone(outbox):
    outbox.owe(TO, [K1], Text())

    outbox.done(take(outbox)[0])

    assert outbox.due_in_s() is None


def test_what_fails_is_due_again_later(outbox, clock):
    outbox.owe(TO, [K1], Text())

    outbox.try_again(take(outbox)[0], after_s=30)

    assert take(outbox) == []
    assert outbox.due_in_s() == 30
    clock.now += 30
    assert [each.attempts for each in take(outbox)] == [1]


def test_the_oldest_come_first_and_not_more_than_asked_for(outbox, clock):
    for key in (K1, K2, K3):
        outbox.owe(TO, [key], lambda _, key=key: key)
        clock.now += 1

    assert [each.message for each in outbox.take_due(lease_s=1000, at_most=2)] == [K1, K2]
    assert [each.message for each in outbox.take_due(lease_s=1000, at_most=2)] == [K3]


@pytest.mark.parametrize("waiting, is_full", [(1, False), (2, True), (3, True)])
def test_an_outbox_has_an_end(tmp_path, waiting, is_full):
    outbox = Outbox(tmp_path / "outbox.db", capacity=2)
    answers = []
    for number in range(waiting + 1):
        try:
            answers.append(outbox.owe(TO, [bytes([number])], Text()))
        except OutboxFull:
            answers.append(False)

    assert answers[-1] is not is_full
    assert len(take(outbox)) == min(waiting + 1, 2)
    outbox.close()


def test_a_message_that_cannot_be_composed_leaves_nothing(outbox):
    def explode(_: Sequence[int]) -> bytes:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        outbox.owe(TO, [K1], explode)

    assert outbox.owe(TO, [K1], Text())


def test_it_outlives_its_process(tmp_path):
    path = tmp_path / "outbox.db"
    process = multiprocessing.get_context("fork").Process(target=_owe_and_die, args=(path,))
    process.start()
    process.join()

    outbox = Outbox(path)

    assert len(take(outbox)) == 1
    assert not outbox.owe(TO, [K1], Text())
    outbox.close()


def _owe_and_die(path: Path) -> None:
    Outbox(path).owe(TO, [K1], Text())


def test_a_damaged_file_is_an_error_that_says_what_to_do(tmp_path):
    path = tmp_path / "outbox.db"
    path.write_bytes(b"no database" * 1000)

    with pytest.raises(OutboxError, match="set it aside") as caught:
        Outbox(path).owe(TO, [K1], Text())

    assert "mkdir" in str(caught.value)


def test_a_directory_that_is_missing_is_an_error_until_it_is_there(tmp_path):
    outbox = Outbox(tmp_path / "missing/outbox.db")
    with pytest.raises(OutboxError):
        outbox.due_in_s()

    (tmp_path / "missing").mkdir()

    assert outbox.due_in_s() is None
    outbox.close()


def test_a_closed_one_refuses(outbox):
    outbox.close()
    outbox.close()

    with pytest.raises(OutboxError):
        outbox.owe(TO, [K1], Text())
