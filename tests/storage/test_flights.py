import pytest

from storage.flights import Endings, Flights
from storage.ledger_tables import Record

A, B, C = (Record(letter * 32, "/m", "tmp", "name") for letter in (b"a", b"b", b"c"))


@pytest.fixture
def flights():
    return Flights()


def test_free_keys_are_taken_once(flights):
    assert flights.take([A, B]) == [True, True]
    assert flights.take([B, C]) == [False, True]


def test_equal_keys_at_once_are_taken_once(flights):
    assert flights.take([A, A]) == [True, False]


def test_forgotten_key_is_free_and_leaves_nothing_to_write(flights):
    flights.take([A])

    flights.forget([A.key])

    assert flights.is_idle
    assert not flights.has_endings
    assert flights.take([A]) == [True]


def test_ended_flights_wait_to_be_written_down(flights):
    flights.take([A, B])

    flights.end([A.key])
    flights.end_unconfirmed([B.key])

    assert flights.is_idle
    assert flights.has_endings
    assert flights.take_endings() == Endings([A.key], [B.key])
    assert not flights.has_endings


def test_flight_ends_once(flights):
    flights.take([A])

    flights.end([A.key, A.key])
    flights.end_unconfirmed([A.key])
    flights.end_unconfirmed([B.key])

    assert flights.take_endings() == Endings([A.key], [])


def test_endings_put_back_come_first(flights):
    flights.take([A, B, C])
    flights.end([A.key])
    flights.end_unconfirmed([B.key])
    endings = flights.take_endings()
    flights.end([C.key])

    flights.put_back(endings)

    assert flights.take_endings() == Endings([A.key, C.key], [B.key])


def test_ending_alone_of_either_kind_is_pending(flights):
    flights.take([A])
    flights.end_unconfirmed([A.key])

    assert flights.has_endings


def test_unknown_keys_are_neither_in_flight_nor_about_to_be_written(flights):
    flights.take([A, B])
    flights.end([B.key])

    assert flights.unknown([A.key, B.key, C.key]) == [C.key]
    assert not flights.is_idle
