"""The machine's users."""

import ctypes
import errno
import os
import pwd

import pytest

from lmtpd.recipients import passwd
from lmtpd.recipients.lookup import Question, SourceDown
from lmtpd.recipients.mailbox import MailboxOwner
from lmtpd.recipients.passwd import PasswdLookup


def asked(user: str) -> Question:
    return Question(user, None, "example.org")


def test_what_the_name_service_knows_of_every_user():
    lookup = PasswdLookup(first_uid=0)

    for known in pwd.getpwall():
        if known.pw_uid != passwd.NOBODY_UID and known.pw_dir.startswith("/"):
            entry = lookup.find(asked(known.pw_name))
            assert entry is not None
            assert entry.home == known.pw_dir
            assert entry.owner == MailboxOwner(known.pw_uid, known.pw_gid)


@pytest.mark.parametrize("user", ["no-such-user", "", "a/b", "x" * 64, "\u00e9"])
def test_nobody_of_that_name(user):
    assert PasswdLookup().find(asked(user)) is None


def test_services_root_and_nobody_receive_nothing():
    for user in ("root", "mail", "nobody"):
        assert PasswdLookup().find(asked(user)) is None
    mail = pwd.getpwnam("mail").pw_uid
    assert PasswdLookup(first_uid=mail).find(asked("mail")) is not None
    assert PasswdLookup(first_uid=mail + 1).find(asked("mail")) is None


@pytest.mark.parametrize("code", [errno.EIO, errno.ECONNREFUSED, errno.EMFILE, errno.ERANGE])
def test_a_name_service_in_trouble_is_no_unknown_user(monkeypatch, code: int):
    class Libc:
        def getpwnam_r(self, *arguments: object) -> int:
            return code

    monkeypatch.setattr(passwd, "_libc", Libc)

    with pytest.raises(SourceDown, match=os.strerror(code)):
        PasswdLookup().find(asked("alice"))


@pytest.mark.parametrize("code", [0, errno.ENOENT, errno.ESRCH])
def test_the_ways_to_say_that_nobody_has_the_name(monkeypatch, code: int):
    class Libc:
        def getpwnam_r(self, *arguments: object) -> int:
            return code

    monkeypatch.setattr(passwd, "_libc", Libc)

    assert PasswdLookup().find(asked("alice")) is None


def test_the_structure_is_that_of_the_c_library():
    lookup = PasswdLookup(first_uid=0)
    root = lookup.find(asked("daemon"))

    assert ctypes.sizeof(ctypes.c_void_p) == 8
    assert root is not None
    assert root.home == pwd.getpwnam("daemon").pw_dir
