import errno
import os

import pytest

from storage.errors import (
    DiskFull,
    MailboxFull,
    MailboxMissing,
    MailboxUnusable,
    NameTaken,
    OutOfDescriptors,
    StorageError,
    from_oserror,
    is_of_file_system,
    is_unsupported,
)

NAMED = {
    errno.ENOENT: MailboxMissing,
    errno.EDQUOT: MailboxFull,
    errno.ENOSPC: DiskFull,
    errno.EACCES: MailboxUnusable,
    errno.EPERM: MailboxUnusable,
    errno.ENOTDIR: MailboxUnusable,
    errno.EROFS: MailboxUnusable,
    errno.ELOOP: MailboxUnusable,
    errno.EISDIR: MailboxUnusable,
    errno.ENXIO: MailboxUnusable,
    errno.EEXIST: NameTaken,
    errno.EMFILE: OutOfDescriptors,
    errno.ENFILE: OutOfDescriptors,
}
OF_FILE_SYSTEM = {
    *(errno.ENOSPC, errno.EIO, errno.ESTALE, errno.EROFS, errno.EUCLEAN, errno.ENODEV, errno.ETIMEDOUT),
    *(errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ENOTCONN, errno.ESHUTDOWN),
}
UNSUPPORTED = {errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP, errno.EXDEV}


@pytest.mark.parametrize("number", sorted(errno.errorcode))
def test_every_errno_has_one_name_and_is_temporary(number):
    cause = OSError(number, os.strerror(number), "file")

    error = from_oserror(cause)

    assert type(error) is NAMED.get(number, StorageError)
    assert error.temporary
    assert error.oserror is cause
    assert str(error) == str(cause)


def test_an_error_without_errno_is_a_storage_error():
    assert type(from_oserror(OSError("odd"))) is StorageError


def test_an_error_that_no_call_raised_has_no_oserror():
    assert StorageError("refused").oserror is None


@pytest.mark.parametrize("number", sorted(errno.errorcode))
def test_only_what_another_call_could_do_is_unsupported(number):
    assert is_unsupported(OSError(number, "")) == (number in UNSUPPORTED)


@pytest.mark.parametrize("number", sorted(errno.errorcode))
def test_what_concerns_the_whole_file_system_is_told_apart(number):
    assert is_of_file_system(from_oserror(OSError(number, ""))) == (number in OF_FILE_SYSTEM)


def test_an_error_that_no_call_raised_concerns_no_file_system():
    assert not is_of_file_system(StorageError("refused"))
