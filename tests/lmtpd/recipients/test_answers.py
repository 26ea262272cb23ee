"""Remembered answers: how many, how long."""

import pytest

from lmtpd.recipients.answers import Answers
from lmtpd.recipients.entry import Entry

ALICE = Entry(home="/home/alice")


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def entry_of(answers: Answers, key: str) -> Entry | str | None:
    kept = answers.get(key)
    return "forgotten" if kept is None else kept.entry


@pytest.mark.parametrize(
    "entry, age, is_kept", [(ALICE, 59.9, True), (ALICE, 60, False), (None, 9.9, True), (None, 10, False)]
)
def test_an_answer_lives_as_long_as_its_kind(entry, age, is_kept):
    clock = Clock()
    answers = Answers(entries=10, known_s=60, unknown_s=10, clock=clock)
    answers.put("alice", entry)

    clock.now += age

    assert entry_of(answers, "alice") == (entry if is_kept else "forgotten")


def test_the_oldest_goes_when_there_are_too_many():
    answers = Answers(entries=2, known_s=60, unknown_s=10)
    for key in ("a", "b", "a", "c"):
        answers.put(key, ALICE)

    assert [entry_of(answers, key) for key in "abc"] == [ALICE, "forgotten", ALICE]


def test_no_time_is_no_memory():
    answers = Answers(entries=2, known_s=60, unknown_s=0)

    answers.put("nobody", None)

    assert entry_of(answers, "nobody") == "forgotten"
