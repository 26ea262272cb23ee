import errno

import pytest

from lmtpd.delivery.quota_truth import DUTY, FULL_S, KNOWN, PAUSE_S, QUIET_S, WATCH_AGAIN_S, Truth
from lmtpd.recipients.mailbox import Mailbox
from storage.folders import Layout
from storage.maildir import MaildirPath
from storage.quota_limit import Usage
from storage.watch import MaildirsWatch
from tests.support.polling import wait_for
from tests.support.quotas import box_of, files_of, lines_of, make_maildir, put
from tests.support.services import KeptReports


class Time:
    now = 1000.0

    def __call__(self):
        return self.now


class Events(KeptReports):
    def __init__(self):
        super().__init__()
        self.names = []

    def event(self, level, name, **fields):
        self.names.append(name)


@pytest.fixture
def clock():
    return Time()


@pytest.fixture
def truth(clock):
    made = Truth(files_of(), Events(), maildirs=2, sample_s=3600, clock=clock)
    yield made
    made.close()


def mailbox_of(path):
    return Mailbox(
        user="a",
        address="a@example.org",
        maildir=MaildirPath(str(path.parent), (path.name,)),
        layout=Layout.MAILDIRPP,
        folder=None,
        create=False,
        create_folder=False,
    )


def meet(truth, path):
    truth.meet(mailbox_of(path), box_of(path, "1000"))


def checked(truth, remembered=frozenset()):
    return [each.standing.usage for each in truth.check(remembered)]


def test_a_deletion_is_counted_when_it_has_been_quiet(tmp_path, truth, clock):
    box = make_maildir(tmp_path / "box")
    message = put(box, 100)
    put(box, 10)
    meet(truth, box)
    clock.now += QUIET_S
    assert checked(truth) == [Usage(110, 2)]
    clock.now += PAUSE_S
    assert checked(truth) == []

    message.unlink()
    wait_for(lambda: checked(truth) or truth._known[str(box)].lost_at is not None, "a notice")
    assert checked(truth) == []
    clock.now += QUIET_S

    assert checked(truth) == [Usage(10, 1)]
    assert lines_of(box) == ["1000S", "10 1"]
    assert truth.reporter.names == ["quota_corrected"]


def test_what_nobody_saw_is_found_when_the_count_is_old(tmp_path, clock):
    truth = Truth(files_of(), Events(), maildirs=0, sample_s=3600, clock=clock)
    boxes = [make_maildir(tmp_path / name) for name in "ab"]
    for index, box in enumerate(boxes):
        (box / "maildirsize").write_text("1000S\n7 1\n")
        put(box, 100 + index)
        meet(truth, box)
        clock.now += 1

    assert checked(truth) == []
    clock.now += 3600

    assert [checked(truth), checked(truth), checked(truth)] == [[Usage(100, 1)], [Usage(101, 1)], []]


def test_who_waits_for_room_is_looked_at_every_minute(tmp_path, clock):
    truth = Truth(files_of(), Events(), maildirs=0, sample_s=0, clock=clock)
    box = make_maildir(tmp_path / "box")
    meet(truth, box)

    clock.now += FULL_S
    assert checked(truth) == []
    assert checked(truth, {str(box)}) == [Usage(0, 0)]
    assert checked(truth, {str(box)}) == []


def test_counting_takes_a_small_share_of_the_time(tmp_path, clock):
    class Slow:
        def account(self, box):
            clock.now += 2

        def actual(self, box):
            return Usage(0, 0)

        def recount(self, box):
            return files_of().recount(box)

    truth = Truth(Slow(), Events(), maildirs=0, sample_s=1, clock=clock)  # type: ignore[arg-type]
    boxes = [make_maildir(tmp_path / name) for name in "ab"]
    for box in boxes:
        meet(truth, box)
    clock.now += 10
    assert len(checked(truth)) == 1

    clock.now += 2 * DUTY - 1
    assert checked(truth) == []
    clock.now += 1
    assert len(checked(truth)) == 1


def test_a_mailbox_that_cannot_be_counted_hinders_no_other(tmp_path, truth, clock):
    box = make_maildir(tmp_path / "box")
    truth.meet(mailbox_of(tmp_path / "gone"), box_of(tmp_path / "gone", "1000"))
    meet(truth, box)
    clock.now += 3601

    assert [checked(truth), checked(truth)] == [[], [Usage(0, 0)]]
    assert truth.reporter.names == ["quota_not_watched", "quota_not_counted"]


def test_a_kernel_without_watches_is_not_asked_again_at_once(tmp_path, truth, clock, monkeypatch):
    asked = []

    def add(self, maildir):
        asked.append(maildir)
        raise OSError(errno.ENOSPC, "inotify watch limit reached")

    monkeypatch.setattr(MaildirsWatch, "add", add)
    box = make_maildir(tmp_path / "box")

    meet(truth, box)
    meet(truth, box)
    clock.now += WATCH_AGAIN_S
    meet(truth, box)

    assert len(asked) == 2


def test_what_was_used_longest_ago_is_forgotten(tmp_path, clock):
    truth = Truth(files_of(), Events(), maildirs=0, sample_s=1, clock=clock)

    for index in range(KNOWN + 1):
        meet(truth, tmp_path / str(index))

    assert not truth.knows(str(tmp_path / "0"))
    assert truth.knows(str(tmp_path / "1"))
