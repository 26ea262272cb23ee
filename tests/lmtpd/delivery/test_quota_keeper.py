import os
from dataclasses import replace

import pytest

from lmtpd.delivery.quota_keeper import AGAIN_S, GIVE_UP_S, KeeperRules, QuotaKeeper
from lmtpd.delivery.quota_truth import FULL_S
from lmtpd.protocol.addresses import Address
from lmtpd.recipients.mailbox import own_address
from storage.quota_state import QuotaState
from tests.support.quotas import lines_of, make_maildir, put
from tests.support.services import BODY, A, codes, deliver, files, make_service, quota_rules

BOX_A = "example.org/a"


class Time:
    """A clock that the test moves."""

    def __init__(self):
        self.now = 1_700_000_000.0

    def __call__(self):
        return self.now


@pytest.fixture
def box(tmp_path):
    return make_maildir(tmp_path / "mail" / BOX_A)


@pytest.fixture
def clock():
    return Time()


@pytest.fixture
def keeping(tmp_path, clock):
    """Make a worker: a service and its keeper. Stopped at the end."""
    keepers = []

    def make(limit="10000", thresholds=(80, 95), command=None, maildirs=0):
        service = make_service(tmp_path, quota=quota_rules(limit))
        rules = KeeperRules(
            thresholds=thresholds,
            command=command,
            postmaster="postmaster@example.org",
            refuses=True,
            maildirs=maildirs,
            sample_s=86_400,
        )
        assert service.quotas is not None
        keeper = QuotaKeeper(service, service.quotas, rules, lock=tmp_path / "state/keeper", clock=clock)
        keeper._truth.clock = clock
        keepers.append(keeper)
        return service, keeper

    yield make
    for keeper in keepers:
        keeper.stop()


def subjects(tmp_path):
    """The subjects of our own messages in the mailbox, oldest first."""
    lines = [
        line for path in files(tmp_path, BOX_A) for line in path.read_text(errors="replace").splitlines()
    ]
    return [line.removeprefix("Subject: ") for line in lines if line.startswith("Subject: Your mailbox")]


def work(keeper):
    keeper.judge()
    keeper.tell_and_check()


def test_a_threshold_that_is_crossed_is_told_once(tmp_path, box, keeping):
    put(box, 7_900)
    service, keeper = keeping()
    _, replies = deliver(service, [A], BODY)
    assert codes(replies) == [250]

    work(keeper)
    deliver(service, [A], BODY[:-2] + b"2\r\n")
    work(keeper)

    assert subjects(tmp_path) == ["Your mailbox is 81% full"]
    assert service.quotas.state.notices() == []


def test_the_next_threshold_is_told_too(tmp_path, box, keeping):
    put(box, 7_800)
    service, keeper = keeping()
    deliver(service, [A], BODY)
    work(keeper)
    put(box, 9_500 - 8_500)
    (box / "maildirsize").unlink()
    deliver(service, [A], BODY[:-2] + b"2\r\n")

    work(keeper)

    assert len(subjects(tmp_path)) == 2


def test_of_several_workers_one_tells(tmp_path, box, keeping):
    put(box, 7_900)
    workers = [keeping() for _ in range(3)]
    for index, (service, _) in enumerate(workers):
        deliver(service, [A], BODY[:-2] + b"%d\r\n" % index)

    for _ in range(2):
        for _, keeper in workers:
            work(keeper)

    assert len(subjects(tmp_path)) == 1


def test_over_a_restart_nothing_is_told_twice(tmp_path, box, keeping):
    put(box, 7_900)
    service, keeper = keeping()
    deliver(service, [A], BODY)
    work(keeper)
    keeper.stop()

    service, keeper = keeping()
    deliver(service, [A], BODY[:-2] + b"2\r\n")
    work(keeper)

    assert len(subjects(tmp_path)) == 1


def test_what_was_judged_before_a_restart_is_told_after_it(tmp_path, box, keeping):
    put(box, 7_900)
    service, keeper = keeping()
    deliver(service, [A], BODY)
    keeper.stop()
    assert subjects(tmp_path) == []

    _, keeper = keeping()
    work(keeper)

    assert len(subjects(tmp_path)) == 1


def test_a_crash_between_the_delivery_and_the_note_of_it_tells_nothing_twice(tmp_path, box, keeping):
    put(box, 7_900)
    service, keeper = keeping()
    deliver(service, [A], BODY)
    keeper.judge()
    state = service.quotas.state
    told, state.told = state.told, lambda notice: (_ for _ in ()).throw(KeyboardInterrupt)

    with pytest.raises(KeyboardInterrupt):
        keeper.tell_and_check()
    state.told = told
    work(keeper)

    assert len(subjects(tmp_path)) == 1
    assert state.notices() == []


def test_under_again_is_told_though_nothing_is_delivered_and_after_a_restart(tmp_path, box, keeping, clock):
    message = put(box, 7_900)
    service, keeper = keeping()
    deliver(service, [A], BODY)
    work(keeper)
    keeper.stop()
    message.unlink()

    _, keeper = keeping()
    work(keeper)
    clock.now += FULL_S + 1
    work(keeper)
    work(keeper)

    assert subjects(tmp_path) == ["Your mailbox is 81% full", "Your mailbox has room again"]
    assert QuotaState(tmp_path / "state/quota.db").all() == {}


def test_a_warning_is_delivered_into_a_full_mailbox_and_counted(tmp_path, box, keeping):
    put(box, 9_780)
    service, keeper = keeping()
    _, replies = deliver(service, [A], b"\r\n")
    assert codes(replies) == [250]

    work(keeper)

    assert len(subjects(tmp_path)) == 1
    assert sum(int(line.split()[0]) for line in lines_of(box)[1:]) > 10_000


def test_a_command_is_told_instead(tmp_path, box, keeping):
    command = tmp_path / "command"
    command.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/told\n')
    command.chmod(0o755)
    put(box, 7_900)
    service, keeper = keeping(command=str(command))
    deliver(service, [A], BODY)

    work(keeper)

    address, level, octets, messages, limit = (tmp_path / "told").read_text().split()
    assert (address, level, messages, limit) == (A, "80", "2", "10000")
    assert int(octets) > 8_000
    assert subjects(tmp_path) == []


def test_a_command_that_fails_is_run_again_later_and_at_last_given_up(tmp_path, box, keeping, clock):
    command = tmp_path / "command"
    command.write_text(f"#!/bin/sh\necho >> {tmp_path}/told\nexit 3\n")
    command.chmod(0o755)
    put(box, 7_900)
    service, keeper = keeping(command=str(command))
    deliver(service, [A], BODY)

    work(keeper)
    work(keeper)
    assert (tmp_path / "told").read_text() == "\n"
    clock.now += AGAIN_S
    work(keeper)
    assert (tmp_path / "told").read_text() == "\n\n"
    clock.now += GIVE_UP_S + 1
    work(keeper)
    clock.now += AGAIN_S
    work(keeper)

    assert (tmp_path / "told").read_text() == "\n\n\n"


def test_a_wrong_account_is_corrected_and_the_log_says_by_how_much(tmp_path, box, keeping, clock):
    service, keeper = keeping()
    deliver(service, [A], BODY)
    work(keeper)
    put(box, 5_000)

    clock.now += 86_401
    work(keeper)

    assert lines_of(box)[1].startswith("5")
    assert len(lines_of(box)) == 2


def test_without_thresholds_nobody_is_told(tmp_path, box, keeping):
    put(box, 7_900)
    service, keeper = keeping(thresholds=())
    deliver(service, [A], BODY)

    work(keeper)

    assert subjects(tmp_path) == []
    assert not (tmp_path / "state/quota.db").exists()


def test_without_a_quota_there_is_no_thread(tmp_path, box, keeping):
    service, keeper = keeping(limit="0")
    service.quotas.on_seen = keeper.start

    deliver(service, [A], BODY)

    assert keeper._thread is None


def test_with_one_it_starts_and_ends(tmp_path, box, keeping):
    put(box, 7_900)
    service, keeper = keeping()
    service.quotas.on_seen = keeper.start

    deliver(service, [A], BODY)
    assert keeper._thread is not None
    keeper.stop()

    assert not keeper._thread.is_alive()
    assert len(service.quotas.state.all()) == 1


def test_a_state_that_cannot_be_written_is_told_once_and_delays_nothing(tmp_path, box, keeping):
    put(box, 7_900)
    service, keeper = keeping()
    os.mkdir(tmp_path / "state/quota.db")
    events = []
    service.reporter.event = lambda level, name, **fields: events.append(name)

    for index in range(3):
        _, replies = deliver(service, [A], BODY[:-2] + b"%d\r\n" % index)
        assert codes(replies) == [250]
        keeper._attempt(keeper.judge)

    assert events == ["quota_state_failed"]


def test_the_owner_has_no_detail(tmp_path, keeping):
    service, _ = keeping()
    mailbox = service.directory.find(Address("a+lists", "example.org"))

    assert own_address(mailbox) == "a@example.org"
    assert own_address(replace(mailbox, user="b@example.net")) == "b@example.net"
