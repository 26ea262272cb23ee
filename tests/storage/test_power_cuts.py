"""A delivery stopped at each of its calls: by a power cut, by death, by every error.

What is promised: once it was acknowledged, exactly one complete copy is there and stays there;
before, none or one complete copy, and the retry makes it one. The ledger is played by a list that is
durable at once.
"""

import errno
from contextlib import suppress
from itertools import product

import pytest

from storage.errors import StorageError
from storage.maildir import MaildirPath
from tests.support.memory_disk import MemoryDisk
from tests.support.memory_faults import PowerCut
from tests.support.storing import PATH, ROOT, USER, deliver, maildirs_on

BODY = b"Subject: hello\n\n" + b"x" * 50 + b"\n"
TMP, NEW = f"{PATH}/tmp", f"{PATH}/new"
TOKEN = "00112233aabbccdd"

ERRNOS = [
    *(errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOENT),
    *(errno.EMFILE, errno.ENFILE, errno.ESTALE, errno.EEXIST, errno.EFBIG, errno.ENOTDIR, errno.ELOOP),
    *(errno.EISDIR, errno.ENXIO, errno.EINVAL, errno.EXDEV, errno.EINTR, errno.ENOMEM),
]


def disk_with(*, maildir_exists):
    disk = MemoryDisk()
    disk.largest_write = 30  # three writes
    disk.make(ROOT)
    if maildir_exists:
        for name in ("tmp", "new", "cur"):
            disk.make(f"{PATH}/{name}")
    return disk


class Ledger:
    """Remembers what is about to be published, whatever happens."""

    def __init__(self) -> None:
        self.records: list[tuple[str, str]] = []

    def intend(self, tmp: str, name: str) -> None:
        self.records.append((tmp, name))


def attempt(disk, ledger, *, token=""):
    """Deliver as a new process does: an earlier record whose file is there is the message itself."""
    maildirs = maildirs_on(disk, token=token, dead=frozenset({TOKEN}))
    for tmp, name in ledger.records:
        maildir = maildirs.open(USER, create=True)
        if maildir.holds(name):
            maildir.sync()
            return
        maildir.remove_tmp(tmp)
    deliver(maildirs, BODY, intend=ledger.intend)


def calls_of(*, maildir_exists):
    disk = disk_with(maildir_exists=maildir_exists)
    attempt(disk, Ledger())
    return len(disk.log)


FIRST_CONTACT = [(False, step) for step in range(1, calls_of(maildir_exists=False) + 2)]
KNOWN = [(True, step) for step in range(1, calls_of(maildir_exists=True) + 2)]

every_step = pytest.mark.parametrize("maildir_exists, step", FIRST_CONTACT + KNOWN)  # the last never fires
done_or_not = pytest.mark.parametrize("after_effect", [False, True], ids=["before", "after"])


@every_step
@done_or_not
def test_a_power_cut_never_leaves_a_torn_or_lost_message(maildir_exists, step, after_effect):
    for names_kept, data_kept in product((False, True), repeat=2):
        disk, ledger = disk_with(maildir_exists=maildir_exists), Ledger()
        disk.fail(step, PowerCut(), after_effect=after_effect)
        acknowledged = False
        with suppress(PowerCut):
            attempt(disk, ledger)
            acknowledged = True

        disk.restart(names_kept=names_kept, data_kept=data_kept)

        left = list(disk.files(NEW).values())
        assert left in ([[BODY]] if acknowledged else [[], [BODY]])

        attempt(disk, ledger)
        disk.restart()

        assert list(disk.files(NEW).values()) == [BODY]


@every_step
@done_or_not
def test_death_never_leaves_a_torn_or_lost_message(maildir_exists, step, after_effect):
    disk, ledger = disk_with(maildir_exists=maildir_exists), Ledger()
    disk.fail(step, PowerCut(), after_effect=after_effect)
    with suppress(PowerCut):
        attempt(disk, ledger, token=TOKEN)

    disk.kill_process()

    assert list(disk.files(NEW).values()) in ([], [BODY])
    attempt(disk, ledger)
    disk.restart()
    assert list(disk.files(NEW).values()) == [BODY]
    assert disk.files(TMP) == {}


@every_step
@done_or_not
def test_a_second_cut_during_the_retry_is_no_worse(maildir_exists, step, after_effect):
    for second in range(1, calls_of(maildir_exists=False) + 2):
        disk, ledger = disk_with(maildir_exists=maildir_exists), Ledger()
        for at in (step, second):
            disk.fail(at, PowerCut(), after_effect=after_effect)
            with suppress(PowerCut):
                attempt(disk, ledger)
            disk.restart(names_kept=True)

        attempt(disk, ledger)
        disk.restart()

        assert list(disk.files(NEW).values()) == [BODY]


@pytest.mark.parametrize("number", ERRNOS, ids=lambda number: errno.errorcode[number])
@pytest.mark.parametrize("for_ever", [False, True], ids=["once", "for ever"])
@done_or_not
@pytest.mark.parametrize("maildir_exists", [False, True])
def test_an_error_of_any_call_is_a_storage_error_or_no_matter(number, for_ever, after_effect, maildir_exists):
    for step in range(1, calls_of(maildir_exists=maildir_exists) + 1):
        disk, ledger = disk_with(maildir_exists=maildir_exists), Ledger()
        maildirs = maildirs_on(disk)
        disk.fail(step, OSError(number, "injected"), after_effect=after_effect, for_ever=for_ever)
        acknowledged = False
        with suppress(StorageError):
            deliver(maildirs, BODY, intend=ledger.intend)
            acknowledged = True

        assert list(disk.files(NEW).values()) in ([[BODY]] if acknowledged else [[], [BODY]])
        failed = disk.log[step - 1 :] if for_ever else disk.log[step - 1 : step]
        # Nobody can know of a file that was created although the answer was an error.
        unknown = {where for call, where in failed if call == "create"}
        assert open_files(disk) <= unknown
        if "unlink" not in [call for call, _ in failed]:
            assert {f"{TMP}/{name}" for name in disk.files(TMP)} <= unknown

        disk.faults.clear()
        attempt(disk, ledger)
        disk.restart()
        assert list(disk.files(NEW).values()) == [BODY]


def open_files(disk):
    return {path for path in disk.open_handles() if path.startswith((f"{TMP}/", f"{NEW}/"))}


def test_recipients_do_not_share_their_fate():
    other = MaildirPath(ROOT, ("example.org", "other"))
    for step in range(1, 2 * calls_of(maildir_exists=False)):
        disk = disk_with(maildir_exists=True)
        maildirs = maildirs_on(disk)
        delivered = []
        disk.fail(step, OSError(errno.EIO, "injected"))
        for where in (USER, other):
            with suppress(StorageError):
                deliver(maildirs, BODY, where=where)
                delivered.append(where)

        disk.restart()

        for where in (USER, other):
            left = list(disk.files(f"{where.path}/new").values())
            assert left in ([[BODY]] if where in delivered else [[], [BODY]])
        assert delivered
