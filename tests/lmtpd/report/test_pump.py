"""The bounded queue: order, batches, what is dropped and what is counted."""

import threading

import pytest

from lmtpd.report.pump import BATCH_ITEMS, Pump

WAIT_S = 30  # never reached


class Consumer:
    """Takes batches; can be stopped, and can take less than it is offered."""

    def __init__(self):
        self.batches = []
        self.may_go = threading.Event()
        self.may_go.set()
        self.called = threading.Event()
        self.takes = None

    def __call__(self, batch):
        self.called.set()
        assert self.may_go.wait(WAIT_S)
        done = len(batch) if self.takes is None else min(self.takes, len(batch))
        self.batches.append(list(batch[:done]))
        return done

    @property
    def items(self):
        return [item for batch in self.batches for item in batch]


@pytest.fixture
def consumer():
    return Consumer()


def started(consumer, **settings):
    pump = Pump("test", consumer, **settings)
    pump.start()
    return pump


def test_items_arrive_in_order_and_in_batches(consumer):
    pump = Pump("test", consumer)
    for number in range(BATCH_ITEMS + 1):
        pump.put(number)

    pump.start()
    left = pump.close(patience_s=WAIT_S)

    assert left == 0
    assert consumer.items == list(range(BATCH_ITEMS + 1))
    assert [len(batch) for batch in consumer.batches] == [BATCH_ITEMS, 1]


def test_item_put_into_a_running_pump_is_performed_without_being_asked(consumer):
    pump = started(consumer, gather_s=0)

    pump.put("item")

    assert consumer.called.wait(WAIT_S)
    pump.close(patience_s=WAIT_S)
    assert consumer.items == ["item"]


def test_hurry_does_not_wait_for_more(consumer):
    pump = started(consumer, gather_s=WAIT_S * 10)

    pump.put("item")
    pump.hurry()

    assert consumer.called.wait(WAIT_S)
    pump.close(patience_s=WAIT_S)


@pytest.mark.parametrize("count, dropped", [(4, 0), (5, 0), (6, 1), (12, 7)])
def test_full_queue_drops_the_oldest_and_counts(consumer, count, dropped):
    pump = Pump("test", consumer, capacity=5)

    for number in range(count):
        pump.put(number)
    pump.start()
    pump.close(patience_s=WAIT_S)

    assert pump.dropped == dropped
    assert consumer.items == list(range(dropped, count))


def test_what_was_performed_while_it_was_dropped_counts_as_performed(consumer):
    consumer.may_go.clear()
    pump = started(consumer, capacity=3, gather_s=0)
    pump.put(0)
    assert consumer.called.wait(WAIT_S)  # 0 is being performed, and still the first in the queue

    for number in (1, 2, 3, 4):
        pump.put(number)  # drops 0, then 1
    consumer.may_go.set()
    pump.close(patience_s=WAIT_S)

    assert consumer.items == [0, 2, 3, 4]
    assert pump.dropped == 1


def test_what_the_consumer_did_not_take_comes_again(consumer):
    consumer.takes = 2
    pump = Pump("test", consumer, retry_s=0)
    for number in range(5):
        pump.put(number)

    pump.start()
    while len(consumer.items) < 5:
        consumer.called.clear()
        assert consumer.called.wait(WAIT_S)
    pump.close(patience_s=WAIT_S)

    assert consumer.items == [0, 1, 2, 3, 4]
    assert pump.dropped == 0


def test_close_tells_what_a_stuck_consumer_leaves(consumer):
    consumer.takes = 1
    pump = Pump("test", consumer, retry_s=WAIT_S)
    for number in range(4):
        pump.put(number)

    pump.start()
    left = pump.close(patience_s=WAIT_S)

    assert left + len(consumer.items) == 4
    assert left > 0


def test_close_does_not_wait_for_a_consumer_that_hangs(consumer):
    consumer.may_go.clear()
    pump = started(consumer, gather_s=0)
    pump.put("item")
    assert consumer.called.wait(WAIT_S)

    left = pump.close(patience_s=0)
    consumer.may_go.set()

    assert left == 1


def test_close_of_an_idle_pump(consumer):
    pump = started(consumer)

    assert pump.close(patience_s=WAIT_S) == 0
    assert consumer.batches == []


def test_many_threads_lose_nothing(consumer):
    pump = started(consumer, gather_s=0)

    threads = [
        threading.Thread(target=lambda base=base: [pump.put(base + i) for i in range(500)])
        for base in range(0, 4000, 500)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    left = pump.close(patience_s=WAIT_S)

    assert left == 0
    assert sorted(consumer.items) == list(range(4000))
