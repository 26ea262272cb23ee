"""Whether a Maildir could be opened: told as `Maildirs.open` would tell it, and nothing is changed."""

import os
from pathlib import Path

import pytest

from storage.disk import Disk
from storage.errors import MailboxMissing, MailboxUnusable
from storage.maildir import MaildirPath
from storage.owned_disk import OwnersDisk
from storage.thread_rights import Rights
from storage.trying import try_open
from tests.support.postfix import public_folder
from tests.support.requirements import need

OWNER = Rights(71001, 71001)


@pytest.fixture
def where(tmp_path: Path) -> MaildirPath:
    return MaildirPath(str(tmp_path), ("example.org", "a"))


def made(where: MaildirPath, *parts: str) -> Path:
    for part in ("", *parts):
        Path(where.path, part).mkdir(parents=True, exist_ok=True)
    return Path(where.path)


def test_one_that_is_there(where: MaildirPath):
    made(where, "tmp", "new", "cur")

    assert try_open(Disk(), where, create=False)


@pytest.mark.parametrize("depth", [1, 2])
def test_one_that_would_be_made_and_is_not(where: MaildirPath, tmp_path: Path, depth: int):
    tmp_path.joinpath(*where.parts[: depth - 1]).mkdir(parents=True, exist_ok=True)

    assert not try_open(Disk(), where, create=True)
    assert not Path(where.path).exists()


def test_one_that_is_missing(where: MaildirPath):
    with pytest.raises(MailboxMissing):
        try_open(Disk(), where, create=False)


def test_a_missing_root_is_no_missing_mailbox(tmp_path: Path):
    with pytest.raises(MailboxUnusable, match="the root of the mailboxes is missing"):
        try_open(Disk(), MaildirPath(str(tmp_path / "no"), ("a",)), create=True)


def test_what_is_missing_in_it_would_be_repaired_and_is_not(where: MaildirPath):
    path = made(where)

    assert try_open(Disk(), where, create=False)
    assert list(path.iterdir()) == []


@pytest.mark.parametrize("part", ["tmp", "new", "cur"])
def test_a_file_in_its_way(where: MaildirPath, part: str):
    made(where).joinpath(part).write_text("")

    with pytest.raises(MailboxUnusable):
        try_open(Disk(), where, create=False)


@pytest.mark.parametrize("shut, parts", [("tmp", "tmp new cur"), ("new", "tmp new cur"), ("", "tmp new")])
def test_what_its_owner_may_not_write_to(shut: str, parts: str):
    need("root")
    with public_folder("trying") as folder:
        where = MaildirPath(str(folder), ("a",), OWNER)
        path = made(where, *parts.split())
        for each in (path, *path.iterdir()):
            os.chown(each, OWNER.uid, OWNER.gid)
        path.joinpath(shut).chmod(0o500)

        with pytest.raises(MailboxUnusable, match=f"{path}/?{shut}'"):
            try_open(OwnersDisk(), where, create=False)
