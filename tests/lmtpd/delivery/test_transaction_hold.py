"""`hold`: what was answered 250 is published at QUIT or MAIL."""

from pathlib import Path

import pytest

from lmtpd.delivery.service import Commit
from tests.support.services import BODY, A, B, codes, deliver, files, leftovers, make_service


def test_hold_publishes_at_the_conclusion(tmp_path: Path):
    service = make_service(tmp_path, commit=Commit.HOLD)

    transaction, answered = deliver(service, [A, A, B], BODY)
    before = files(tmp_path, "example.org/a")
    transaction.conclude()

    assert codes(answered) == [250, 250, 250]
    assert before == []
    assert len(files(tmp_path, "example.org/a")) == len(files(tmp_path, "example.org/b")) == 1
    assert leftovers(tmp_path) == []


def test_hold_forgets_what_is_dropped(tmp_path: Path):
    service = make_service(tmp_path, commit=Commit.HOLD)

    transaction, answered = deliver(service, [A], BODY)
    transaction.drop()
    transaction.conclude()

    assert codes(answered) == [250]
    assert files(tmp_path, "example.org/a") == []
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize("behind", ["conclude release", "release conclude"])
def test_hold_recognises_the_retry_of_what_was_published_without_proof(tmp_path: Path, behind: str):
    service = make_service(tmp_path, commit=Commit.HOLD)
    transaction, _ = deliver(service, [A], BODY)
    for step in behind.split():
        getattr(transaction, step)()

    again, answered = deliver(service, [A], BODY)
    again.confirm()
    again.conclude()

    assert codes(answered) == [250]
    assert len(files(tmp_path, "example.org/a")) == 1
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize("behind", ["conclude confirm", "confirm conclude"])
def test_hold_keeps_the_same_octets_again_behind_a_proof(tmp_path: Path, behind: str):
    service = make_service(tmp_path, commit=Commit.HOLD)
    for _ in range(2):
        transaction, _ = deliver(service, [A], BODY)
        for step in behind.split():
            getattr(transaction, step)()

    assert len(files(tmp_path, "example.org/a")) == 2
    assert leftovers(tmp_path) == []
