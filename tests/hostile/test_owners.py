"""Each delivery acts as the mailbox's owner: with his rights at every call, whatever he does between two.

The users are numbers without names. Their mailboxes must not lead to each other's, nor to a place of root's.
"""

import errno
import os
from collections.abc import Callable, Iterator
from functools import wraps
from pathlib import Path

import pytest

from lmtpd.delivery.headings import SingleInstance
from lmtpd.recipients.directory import Directory
from lmtpd.recipients.owners import OwnedRecipients, OwnerRules
from storage.disk import Disk
from storage.maildir import MaildirPath
from storage.maildirs import Maildirs
from storage.names import NameSource
from storage.owned_disk import OwnersDisk
from tests.support.requirements import need
from tests.support.services import BODY, LARGE, A, B, Client, begin, codes, deliver, make_service, offered

UIDS = {"a": 71001, "b": 71002}
LOOKS = {"status", "open_directory", "open_path", "file_system"}  # which root does too, to find mailboxes
# For these the descriptor is enough, and nothing is taken or made.
BY_DESCRIPTOR = {
    "read",
    "read_at",
    "sync",
    "close",
    "status_of",
    "list_names",
    "lock_shared",
    "try_lock_alone",
    "can_sync_file_system",
    "sync_file_system",
}
CALLS = [name for name in vars(Disk) if not name.startswith("_") and name != "acting_as"]


class Site:
    """A service in this process, and its mailboxes; `before` is told of every call ahead of it."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        folder.chmod(0o755)
        self.folder = folder
        self.mail = folder / "mail"
        self.outside = folder / "outside"
        self.before: Callable[[str, str], None] = lambda call, path: None
        for part in ("", "tmp", "new", "cur"):
            (self.outside / part).mkdir(parents=True, exist_ok=True)
            (self.outside / part).chmod(0o700)
        for name in CALLS:
            monkeypatch.setattr(Disk, name, self._watched(name))
        disk = OwnersDisk()
        self.service = make_service(folder, disk=disk, create=False)
        directory = self.service.directory
        assert isinstance(directory, Directory)
        self.service.directory = OwnedRecipients(directory, disk, OwnerRules(first_uid=1000, groups=()))
        own = Maildirs(Disk(), NameSource("mx.example.org", "0" * 16))
        self.service.apart = lambda: own.open(MaildirPath(str(folder / "state"), ("spool",)), create=True)
        self.make_mailboxes()

    def _watched(self, name: str) -> Callable[..., object]:
        original = getattr(Disk, name)

        @wraps(original)
        def watched(disk: Disk, *args: object, **kwargs: object) -> object:
            if name != "close":
                self.before(name, _where(args, kwargs))
            return original(disk, *args, **kwargs)

        return watched

    def make_mailboxes(self) -> None:
        """Make the mailboxes of a and b, whatever there is now."""
        self.mail.chmod(0o755)
        if (self.mail / "example.org").exists():
            (self.mail / "example.org").rename(self.mail / f"was{os.urandom(4).hex()}")
        (self.mail / "example.org").mkdir()
        (self.mail / "example.org").chmod(0o755)
        for user, uid in UIDS.items():
            for part in ("", "tmp", "new", "cur"):
                path = self.mail / "example.org" / user / part
                path.mkdir()
                path.chmod(0o700)
                os.chown(path, uid, uid)

    def files(self) -> dict[Path, int]:
        """Every file anywhere, and its owner; no link is followed."""
        found: dict[Path, int] = {}
        for top, _, names in os.walk(self.folder):
            found |= {Path(top, name): os.lstat(Path(top, name)).st_uid for name in names}
        return {path: uid for path, uid in found.items() if not path.is_symlink()}


def _where(args: tuple[object, ...], kwargs: dict[str, object]) -> str:
    """Where a call happens; of one with two places, where to."""
    fd = kwargs.get("dst_dir_fd", kwargs.get("dir_fd"))
    name = ""
    if isinstance(args[0], str):
        name = str(args[1] if len(args) > 1 and isinstance(args[1], str) else args[0])
    else:
        fd = args[1] if len(args) > 1 and isinstance(args[1], int) and not kwargs.get("at_most") else args[0]
    return name if fd is None else os.path.join(os.readlink(f"/proc/self/fd/{fd}"), name)


@pytest.fixture
def site(folder_in_memory: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    need("root")
    site = Site(folder_in_memory, monkeypatch)
    yield site
    site.before = lambda call, path: None
    site.service.close()
    assert os.geteuid() == 0
    assert sorted(path.name for path in site.outside.rglob("*")) == ["cur", "new", "tmp"]


def rights() -> tuple[int, int, tuple[int, ...], int]:
    """What the calling thread has: uid, gid, groups, capabilities."""
    handle = os.open("/proc/thread-self/status", os.O_RDONLY)
    status = dict(line.split(b":\t", 1) for line in os.read(handle, 1 << 16).splitlines() if b":\t" in line)
    os.close(handle)
    return os.geteuid(), os.getegid(), tuple(os.getgroups()), int(status[b"CapEff"], 16)


@pytest.mark.parametrize("rule", list(SingleInstance), ids=lambda rule: rule.value)
@pytest.mark.parametrize("body", [BODY, LARGE], ids=["small", "large"])
def test_every_call_in_a_mailbox_has_its_owners_rights_and_no_others(
    site: Site, body: bytes, rule: SingleInstance
):
    site.service.single_instance = rule
    seen = []

    def before(call: str, path: str) -> None:
        user = path.removeprefix(f"{site.mail}/example.org/").partition("/")[0]
        if user in UIDS and path.startswith(str(site.mail)) and call not in BY_DESCRIPTOR:
            seen.append((user, call, rights()))

    site.before = before
    _, answered = deliver(site.service, [A, B], body)

    assert codes(answered) == [250, 250]
    assert {call for _, call, _ in seen} >= {"open_directory", "create", "write", "rename_exclusive"}
    for user, call, (uid, gid, groups, capabilities) in seen:
        if call in LOOKS and uid == 0:
            continue
        assert (uid, gid, groups, capabilities) == (UIDS[user], UIDS[user], (), 0), call


def test_what_is_reached_through_a_descriptor_is_no_more_than_that():
    assert set(CALLS) >= BY_DESCRIPTOR
    assert set(CALLS) - BY_DESCRIPTOR == {name for name in CALLS if name in vars(OwnersDisk.__mro__[1])}


@pytest.mark.parametrize("recipients, apart", [([A, B], True), ([A, "a+x@example.org"], False), ([A], False)])
def test_a_body_for_several_owners_lies_where_none_of_them_can_change_it(
    site: Site, recipients: list[str], apart: bool
):
    transaction = begin(site.service, recipients)
    assert transaction.open_body().code == 354
    transaction.write(LARGE)

    bodies = [path for path in site.files() if path.stat().st_size > 100_000]

    place = site.folder / "state/spool/tmp" if apart else site.mail / "example.org/a/tmp"
    assert [path.parent for path in bodies] == [place]
    assert bodies[0].stat().st_uid == (0 if apart else UIDS["a"])
    transaction.drop()
    assert [path for path in site.files() if path.parent.name == "tmp"] == []


@pytest.mark.parametrize("call", ["create", "write"])
def test_a_place_for_bodies_that_is_full_defers_all(site: Site, call: str):
    def before(name: str, path: str) -> None:
        if name == call and "/state/spool/tmp" in path:
            raise OSError(errno.ENOSPC, "injected")

    site.before = before
    _, answered = deliver(site.service, [A, B], LARGE)

    assert codes(answered) == [451, 451]
    assert [path for path in site.files() if path.parent.name in ("tmp", "new")] == []


def deliver_to_both(site: Site) -> list[int]:
    """Return what a and b are answered last, be it to RCPT, to DATA, or behind the dot."""
    transaction = begin(site.service, [])
    answered = [transaction.offer(offered(recipient)).code for recipient in (A, B)]
    if (code := transaction.open_body().code) == 354:
        transaction.write(BODY)
        last = iter(transaction.deliver(Client(), None))
        answered = [next(last).code if code == 250 else code for code in answered]
    else:
        answered = [code] * 2
    transaction.confirm()
    transaction.drop()
    return answered


@pytest.mark.parametrize("target", ["outside", "the other's"])
@pytest.mark.parametrize("warm", [False, True], ids=["first contact", "open mailbox"])
@pytest.mark.parametrize("place", ["tmp", "new", "cur"])
def test_a_link_that_the_owner_puts_there_between_two_calls_leads_nowhere(
    site: Site, place: str, warm: bool, target: str
):
    n, struck = 1, True
    while struck:
        site.make_mailboxes()
        mine, others = site.mail / "example.org/a", site.mail / "example.org/b"
        if warm:
            deliver(site.service, [A], BODY)[0].confirm()
        seen, struck = 0, False

        def before(
            call: str, path: str, at: int = n, victim: Path = mine / place, others: Path = others
        ) -> None:
            nonlocal seen, struck
            seen += f"{path}/".startswith(f"{victim.parent}/")
            if seen == at and not struck:
                struck = True
                victim.rename(victim.with_name(f"{place}.was"))
                victim.symlink_to((site.outside if target == "outside" else others) / place)

        site.before = before
        answered = deliver_to_both(site)
        site.before = lambda call, path: None

        assert answered in ([250, 250], [451, 250]), n
        files = {path: uid for path, uid in site.files().items() if path.is_relative_to(mine.parent)}
        assert [uid for path, uid in files.items() if path.is_relative_to(others)] == [UIDS["b"]], n
        stored = [path for path in files if path.is_relative_to(mine) and path.parent.name.startswith("new")]
        assert {files[path] for path in stored} <= {UIDS["a"]}
        assert len(stored) - warm in ({1} if answered[0] == 250 else {0, 1}), (n, answered)
        n += 1
    assert n > 6
