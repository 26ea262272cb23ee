"""One file under several names: staged, synced and discarded by each, written and synced once."""

import errno
import os
import tempfile
from contextlib import suppress
from itertools import product

import pytest

from storage.disk import Disk
from storage.errors import DiskFull, StorageError
from storage.maildir import Durability, MaildirPath
from tests.support.memory_disk import MemoryDisk
from tests.support.memory_faults import PowerCut
from tests.support.storing import ROOT, maildirs_on

USERS = [MaildirPath(ROOT, ("example.org", name)) for name in ("a", "b", "c")]
BODY = b"Subject: hello\n\nall\n"


@pytest.fixture
def disk():
    disk = MemoryDisk()
    disk.make(ROOT)
    return disk


def opened(disk, **how):
    maildirs = maildirs_on(disk, **how)
    boxes = [maildirs.open(where, create=True) for where in USERS]
    disk.log.clear()
    return boxes


def staged_by_all(boxes):
    first = boxes[0].stage()
    first.write(BODY)
    return [first, *(box.stage_link(first) for box in boxes[1:])]


def published(disk):
    return [list(disk.files(f"{where.path}/new").values()) for where in USERS]


def calls(disk, name):
    return [where for call, where in disk.log if call == name]


def test_one_file_is_written_and_synced_once_for_all(disk):
    boxes = opened(disk)

    copies = staged_by_all(boxes)
    for copy in copies:
        copy.sync()
    for copy, box in zip(copies, boxes, strict=True):
        copy.publish("final")
        box.sync()

    assert published(disk) == [[BODY]] * 3
    assert [len(calls(disk, name)) for name in ("create", "write", "close", "link")] == [1, 1, 1, 2]
    assert calls(disk, "sync") == [
        f"{USERS[0].path}/tmp/{copies[0].name}",
        *(f"{where.path}/new" for where in USERS),
    ]
    assert [copy.octets for copy in copies] == [len(BODY)] * 3
    assert len({copy.name for copy in copies}) == 3


@pytest.mark.parametrize("leaver", [0, 1])
def test_who_discards_takes_only_his_own_name_away(disk, leaver):
    copies = staged_by_all(opened(disk))
    for copy in copies:
        copy.sync()

    copies[leaver].discard()
    for place in {0, 1, 2} - {leaver}:
        copies[place].publish("final")

    assert published(disk) == [[] if place == leaver else [BODY] for place in range(3)]
    assert disk.files(f"{USERS[leaver].path}/tmp") == {}


def test_what_was_linked_is_not_written_any_more(disk):
    _, second, _ = staged_by_all(opened(disk))

    with pytest.raises(StorageError, match="linked"):
        second.write(b"more")


def test_a_sync_that_failed_fails_for_all_with_its_reason(disk):
    first, second, third = staged_by_all(opened(disk))
    disk.fail(len(disk.log) + 1, OSError(errno.ENOSPC, "injected"))

    for copy in (first, second, third):
        with pytest.raises(DiskFull):
            copy.sync()

    assert published(disk) == [[], [], []]
    assert [disk.files(f"{where.path}/tmp") for where in USERS] == [{}, {}, {}]


def test_nothing_is_published_whose_original_was_never_synced(disk):
    first, second, _ = staged_by_all(opened(disk))
    first.discard()

    with pytest.raises(StorageError, match="was not synced"):
        second.sync()
    with pytest.raises(StorageError):
        second.publish("final")


def test_the_original_may_be_published_before_the_others_are_synced(disk):
    first, second, _ = staged_by_all(opened(disk))
    first.sync()
    first.publish("final")
    second.sync()
    second.publish("final")

    assert published(disk) == [[BODY], [BODY], []]


def test_without_syncs_nothing_is_synced(disk):
    for copy in staged_by_all(opened(disk, durable=Durability.NONE)):
        copy.sync()
        copy.publish("final")

    assert published(disk) == [[BODY]] * 3
    assert calls(disk, "sync") == []


@pytest.mark.parametrize("number", [errno.EXDEV, errno.EMLINK, errno.EPERM, errno.ENOSPC, errno.EIO])
def test_what_cannot_be_linked_is_to_be_written_again(disk, number):
    boxes = opened(disk)
    first = boxes[0].stage()
    first.write(BODY)
    disk.fail(len(disk.log) + 1, OSError(number, "injected"))

    assert boxes[1].stage_link(first) is None
    assert boxes[2].stage_link(first) is not None


def test_a_power_cut_never_leaves_a_torn_message_nor_takes_one_back():
    for names_kept, data_kept in product((False, True), repeat=2):
        step, is_over = 0, False
        while not is_over:
            step += 1
            disk = MemoryDisk()
            disk.make(ROOT)
            boxes = opened(disk)
            disk.fail(step, PowerCut())
            durable = []
            with suppress(PowerCut):
                copies = staged_by_all(boxes)
                for copy in copies:
                    copy.sync()
                for copy in copies:
                    copy.publish("final")
                for place, box in enumerate(boxes):
                    box.sync()
                    durable.append(place)
                is_over = True

            disk.restart(names_kept=names_kept, data_kept=data_kept)

            for place, left in enumerate(published(disk)):
                assert left in ([[BODY]] if place in durable else [[], [BODY]]), step


def test_kin_are_maildirs_whose_files_get_the_same_owner_on_the_same_file_system(disk):
    first, second, _ = opened(disk)

    assert first.kin == second.kin
    assert first.identity != second.identity


def test_there_is_no_file_across_file_systems(tmp_path):
    with tempfile.TemporaryDirectory(dir="/dev/shm") as other:
        roots = [str(tmp_path), other]
        maildirs = maildirs_on(Disk())
        here, there = [maildirs.open(MaildirPath(root, ("u",)), create=True) for root in roots]
        with here.stage() as staged:
            assert here.kin != there.kin
            assert there.stage_link(staged) is None
            assert os.listdir(f"{other}/u/tmp") == []


def test_blocks_at_the_same_place_are_copied_by_themselves(disk):
    box, other, _ = opened(disk)
    source, target = box.stage(), other.stage()
    source.write(b"h" * 100 + b"b" * 9000)
    target.write(b"g" * 100)

    target.write_from(source, 100, 9000)

    assert target.octets == 9100
    assert disk.files(f"{USERS[1].path}/tmp")[target.name] == b"g" * 100 + b"b" * 9000
    # Up to the first block's end; then the blocks, which a file system may share instead.
    assert len(calls(disk, "copy_range")) == 2


@pytest.mark.parametrize("head, count", [(100, 2), (101, 1), (100 + 4096, 2), (4096, 1)])
def test_only_blocks_at_the_same_place_are(disk, head, count):
    box, other, _ = opened(disk)
    source, target = box.stage(), other.stage()
    source.write(b"h" * 100 + b"b" * 9000)
    target.write(b"g" * head)

    target.write_from(source, 100, 9000)

    assert len(calls(disk, "copy_range")) == count
    assert target.octets == head + 9000
