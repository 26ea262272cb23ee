"""The way to a Maildir: what is made, what is refused, what is cleared away."""

import errno
import os
import stat

import pytest

from storage.directory import open_root
from storage.disk import Disk
from storage.errors import MailboxUnusable, StorageError
from storage.maildir import MaildirPath
from storage.opening import LEFTOVERS, descend, reclaim, repair
from tests.support.memory_disk import MemoryDisk
from tests.support.storing import PATH, ROOT, USER, deliver, maildirs_on

CHAIN = [ROOT, f"{ROOT}/example.org", PATH]
TOKEN = "00112233aabbccdd"


@pytest.fixture
def now():
    """The time of both clocks, in s; tests move it."""
    return [1_760_000_000.0]


@pytest.fixture
def disk(now):
    disk = MemoryDisk(clock=lambda: int(now[0] * 10**9))
    disk.make(ROOT)
    return disk


def synced(disk):
    return [where for call, where in disk.log if call == "sync"]


# -- what is made


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_a_missing_maildir_is_made_for_its_owner_alone(tmp_path, umask):
    old = os.umask(umask)
    try:
        maildirs_on(Disk()).open(MaildirPath(str(tmp_path), ("example.org", "user")), create=True)
    finally:
        os.umask(old)

    made = [path for path in tmp_path.rglob("*") if path.is_dir()]
    assert sorted(str(path.relative_to(tmp_path)) for path in made) == [
        "example.org",
        "example.org/user",
        "example.org/user/cur",
        "example.org/user/new",
        "example.org/user/tmp",
    ]
    assert {stat.S_IMODE(path.stat().st_mode) for path in made} == {0o700}


def test_a_missing_directory_is_missing_unless_it_may_be_made(disk):
    with pytest.raises(FileNotFoundError):
        descend(disk, USER, create=False)

    assert [handle for handle in disk.log if handle[0] == "make_directory"] == []


def test_one_that_another_process_makes_at_the_same_moment_is_used(disk):
    def make_first(call, where):
        if call == "make_directory":
            disk.make(where)

    disk.on_call = make_first

    chain = descend(disk, USER, create=True)

    assert [directory.changed for directory in chain] == [True, True, False]


def test_a_missing_root_is_no_missing_mailbox(disk):
    with pytest.raises(MailboxUnusable, match="root"):
        descend(disk, MaildirPath("/not/mounted", ("user",)), create=True)


def test_a_maildir_that_is_named_as_a_whole_may_be_missing():
    with pytest.raises(FileNotFoundError):
        descend(MemoryDisk(), MaildirPath("/not/there", ()), create=True)


@pytest.mark.parametrize("part", ["", ".", "..", "a/b", "/", "../x", "a\0b"])
def test_a_part_that_is_not_one_name_is_refused(disk, part):
    with pytest.raises(ValueError, match="not the name of a directory"):
        descend(disk, MaildirPath(ROOT, (part,)), create=True)


@pytest.mark.parametrize("missing", [("new",), ("cur",), ("tmp",), ("cur", "new", "tmp")])
def test_what_is_missing_of_a_maildir_is_repaired(disk, missing):
    for name in {"new", "cur", "tmp"} - set(missing):
        disk.make(f"{PATH}/{name}")
    disk.make(PATH)

    tmp, new = repair(open_root(disk, PATH))

    assert [disk.status_of(handle.fd).st_ino for handle in (tmp, new)] == [
        disk.status(f"{PATH}/{name}").st_ino for name in ("tmp", "new")
    ]
    assert disk.status(f"{PATH}/cur")


# -- what is refused


PLANTS = ["link", "dangling link", "file", "fifo"]


@pytest.fixture
def tree(tmp_path):
    """A real Maildir, and another that nobody may be led into."""
    for path in ("root/domain/user/new", "root/domain/user/cur", "root/domain/user/tmp"):
        (tmp_path / path).mkdir(parents=True)
    for name in ("new", "cur", "tmp"):
        (tmp_path / "other" / name).mkdir(parents=True)
    return tmp_path


def plant(path, what, target):
    """Put something else in place of a directory."""
    if path.exists():
        path.rename(path.with_name(path.name + ".old"))
    match what:
        case "link":
            path.symlink_to(target)
        case "dangling link":
            path.symlink_to("nowhere")
        case "file":
            path.touch()
        case "fifo":
            os.mkfifo(path)


@pytest.mark.parametrize("what", PLANTS)
@pytest.mark.parametrize(
    "where", ["domain", "domain/user", *(f"domain/user/{d}" for d in ("new", "cur", "tmp"))]
)
@pytest.mark.parametrize("create", [False, True])
def test_nothing_but_directories_leads_to_a_maildir(tree, what, where, create):
    plant(tree / "root" / where, what, tree / "other")
    before = sorted(tree.rglob("*"))
    maildirs = maildirs_on(Disk())

    with pytest.raises(MailboxUnusable):
        maildirs.open(MaildirPath(str(tree / "root"), ("domain", "user")), create=create)

    assert sorted(tree.rglob("*")) == before


def test_links_in_the_root_are_the_administrators(tree):
    (tree / "alias").symlink_to("root")
    where = MaildirPath(str(tree / "alias/domain"), ("user",))

    deliver(maildirs_on(Disk()), b"hello", where=where, create=False)

    assert [path.read_bytes() for path in (tree / "root/domain/user/new").iterdir()] == [b"hello"]


@pytest.mark.parametrize("swapped", ["new", "tmp"])
def test_a_link_put_in_place_after_opening_leads_nowhere_else(tree, swapped):
    maildir = maildirs_on(Disk()).open(MaildirPath(str(tree / "root"), ("domain", "user")), create=False)
    plant(tree / "root/domain/user" / swapped, "link", tree / "other" / swapped)

    with maildir.stage() as staged:
        staged.write(b"hello")
        staged.sync()
        staged.publish("final")

    assert not [path for path in (tree / "other").rglob("*") if not path.is_dir()]


class Passable(MemoryDisk):
    """A disk whose upper directories may be passed, but not read, as /home often is."""

    def open_directory(self, name: str, *, dir_fd: int | None = None, follow: bool = False) -> int:
        fd = super().open_directory(name, dir_fd=dir_fd, follow=follow)
        if self.open_handles()[-1] in CHAIN[:2]:
            self.close(fd)
            raise OSError(errno.EACCES, "no")
        return fd


def test_upper_directories_need_not_be_readable():
    disk = Passable()
    disk.make(PATH)

    deliver(maildirs_on(disk), b"hello", create=False)

    assert list(disk.files(f"{PATH}/new").values()) == [b"hello"]
    assert CHAIN[0] not in synced(disk)


def test_an_entry_made_where_nothing_can_be_synced_is_not_relied_on():
    disk = Passable()
    disk.make(ROOT)

    with pytest.raises(StorageError):
        maildirs_on(disk).open(USER, create=True)


# -- leftovers


def leftover(number=1, token=TOKEN):
    return f"1760000000.M1P2Q{number}R{token}.mx"


def test_only_what_our_dead_processes_left_is_removed(disk):
    names = [
        leftover(),
        leftover(2),
        leftover(3, token="ffffffff00000000"),
        "1760000000.M1P2.mx",
        "1760000000.12_3.mx",
        TOKEN,
    ]
    disk.make(f"{PATH}/tmp")
    for name in names:
        disk.put(f"{PATH}/tmp/{name}")

    reclaim(open_root(disk, f"{PATH}/tmp"), frozenset({TOKEN, "0000"}))

    assert sorted(disk.files(f"{PATH}/tmp")) == sorted(names[2:])


def test_without_dead_processes_nothing_is_listed(disk):
    disk.make(f"{PATH}/tmp")
    tmp = open_root(disk, f"{PATH}/tmp")

    reclaim(tmp, frozenset())

    assert [call for call, _ in disk.log] == ["open_directory"]


@pytest.mark.parametrize("count", [LEFTOVERS - 1, LEFTOVERS, LEFTOVERS + 1])
def test_a_delivery_looks_at_a_bounded_number(disk, count):
    disk.make(f"{PATH}/tmp")
    for number in range(count):
        disk.put(f"{PATH}/tmp/{leftover(number)}")

    reclaim(open_root(disk, f"{PATH}/tmp"), frozenset({TOKEN}))

    assert len(disk.files(f"{PATH}/tmp")) == max(0, count - LEFTOVERS)


@pytest.mark.parametrize("at, left", [(2, 2), (3, 1)])
def test_what_cannot_be_removed_stays_and_hinders_nobody(disk, at, left):
    disk.make(f"{PATH}/tmp")
    for number in range(2):
        disk.put(f"{PATH}/tmp/{leftover(number)}")
    disk.fail(at, OSError(errno.EIO, "broken"))

    reclaim(open_root(disk, f"{PATH}/tmp"), frozenset({TOKEN}))

    assert len(disk.files(f"{PATH}/tmp")) == left
