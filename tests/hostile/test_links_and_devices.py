"""Links, FIFOs, devices, sockets, files and foreign directories in every place of a Maildir's path.

There before the delivery, or put there before its n-th call: nothing outside the mailbox is ever written or
changed, nothing hangs, and the recipient is answered 4xx, unless the message is whole in his own mailbox.
"""

import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.hostile.inprocess import InProcess
from tests.hostile.watched_disk import WatchedDisk
from tests.support.lmtp_client import LmtpClient
from tests.support.postfix import public_folder
from tests.support.requirements import need
from tests.support.server import Server
from tests.support.services import make_service

BODY = b"Subject: hostile\r\n\r\nsecret\r\n"
PLACES = {
    "domain": "{}.example.org",
    "user": "{}.example.org/v",
    **{part: f"{{}}.example.org/v/{part}" for part in ("tmp", "new", "cur")},
}


def _socket(path: Path, outside: Path) -> None:
    folder = os.open(path.parent, os.O_RDONLY)  # a socket's path must be short
    try:
        with socket.socket(socket.AF_UNIX) as end:
            end.bind(f"/proc/self/fd/{folder}/{path.name}")
    finally:
        os.close(folder)


def _device(path: Path, outside: Path) -> None:
    os.mknod(path, 0o020666, os.makedev(1, 3))  # /dev/null: what is written there is lost


def _mirror(path: Path, outside: Path) -> None:
    """A link to a place that has all a mailbox or a domain has."""
    path.symlink_to(outside)


def _hard_linked_link(path: Path, outside: Path) -> None:
    """Postfix CVE-2008-2936: a link of somebody else's, by another name."""
    theirs = outside.parent / f"theirs-{path.parent.name}-{path.name}"
    theirs.symlink_to(outside)
    os.link(theirs, path, follow_symlinks=False)
    theirs.unlink()


THINGS: dict[str, Callable[[Path, Path], object]] = {
    "link": _mirror,
    "relative link": lambda path, outside: path.symlink_to(os.path.relpath(outside, path.parent)),
    "hard link to a link": _hard_linked_link,
    "dangling link": lambda path, outside: path.symlink_to(outside / "made-by-nobody"),
    "loop": lambda path, outside: path.symlink_to(path.name),
    "fifo": lambda path, outside: os.mkfifo(path),
    "socket": _socket,
    "file": lambda path, outside: path.write_bytes(b"a file"),
    "device": _device,
}


class Scene:
    """A server whose disk the test watches; `outside` is what nobody may write to."""

    def __init__(self, folder: Path) -> None:
        self.disk = WatchedDisk()
        self.outside = folder / "outside"
        for part in ("tmp", "new", "cur", "v/tmp", "v/new", "v/cur"):
            (self.outside / part).mkdir(parents=True)
        self.mail = folder / "mail"
        self.before = self.look()
        self.service = make_service(folder, disk=self.disk)
        (self.mail / "other.example.org").mkdir()
        self.folder = folder
        self._number = 0

    def look(self) -> list[tuple[str, int]]:
        """Everything outside, with its time of change."""
        return sorted((str(path), path.lstat().st_mtime_ns) for path in self.outside.rglob("*"))

    def victim(self) -> str:
        """A domain with a mailbox, v."""
        self._number += 1
        name = f"d{self._number}"
        for part in ("tmp", "new", "cur"):
            (self.mail / f"{name}.example.org/v" / part).mkdir(parents=True)
        return name

    def stored(self, name: str) -> list[Path]:
        """The whole copies in the victim's own directories, wherever those were moved to."""
        found = []
        for top, _, files in os.walk(self.mail):
            if name in Path(top).relative_to(self.mail).as_posix() and os.path.basename(top)[:3] == "new":
                found += [Path(top, file) for file in files]
        return [path for path in found if path.read_bytes().endswith(b"\n\nsecret\n")]


@pytest.fixture
def scene(folder_in_memory: Path) -> Iterator[Scene]:
    scene = Scene(folder_in_memory)
    yield scene
    scene.service.close()
    assert scene.look() == scene.before


def _deliver(client: LmtpClient, *recipients: str) -> list[int]:
    return [reply.code for reply in client.deliver("s@example.org", recipients, BODY)]


@pytest.mark.parametrize("thing", THINGS)
def test_what_lies_in_the_place_of_a_directory_is_never_used(scene: Scene, thing: str):
    if thing == "device":
        need("root")
    with (
        InProcess(scene.service, scene.folder) as server,
        LmtpClient.connect(server.address).greet() as client,
    ):
        for place in PLACES.values():
            name = scene.victim()
            path = scene.mail / place.format(name)
            path.rename(f"{path}.gone")
            THINGS[thing](path, scene.outside)

            assert _deliver(client, f"v@{name}.example.org", "a@other.example.org") == [451, 250], place

            assert scene.stored(name) == []
            path.unlink()  # it is still there, and not a directory
            os.rename(f"{path}.gone", path)
            assert _deliver(client, f"v@{name}.example.org") == [250]
            assert len(scene.stored(name)) == 1


@pytest.mark.parametrize("warm", [False, True], ids=["first contact", "open mailbox"])
@pytest.mark.parametrize("thing", ["link", "dangling link", "fifo", "file"])
@pytest.mark.parametrize("place", PLACES)
def test_what_is_put_there_between_two_calls_is_never_used(scene: Scene, place: str, thing: str, warm: bool):
    with (
        InProcess(scene.service, scene.folder) as server,
        LmtpClient.connect(server.address).greet() as client,
    ):
        n, struck = 1, True
        while struck:
            name = scene.victim()
            if warm:
                assert _deliver(client, f"v@{name}.example.org") == [250]
            struck = False
            seen = 0

            def before(call: str, path: str, at: int = n, name: str = name) -> None:
                nonlocal seen, struck
                seen += 1
                if seen == at:
                    struck = True
                    where = scene.mail / PLACES[place].format(name)
                    where.rename(f"{where}.gone")
                    THINGS[thing](where, scene.outside)

            scene.disk.victim, scene.disk.before = f"{name}.example.org", before
            codes = _deliver(client, f"v@{name}.example.org", "a@other.example.org")
            scene.disk.victim = ""

            assert codes in ([451, 250], [250, 250]), n
            copies = len(scene.stored(name)) - warm
            assert copies in ({1} if codes[0] == 250 else {0, 1}), (n, codes)
            n += 1
        assert n > 8


def test_a_directory_of_a_foreign_owner_is_left_alone():
    need("root")
    with public_folder("foreign") as folder:
        config = '[server]\nrun_as = "mail"\n'
        for user in ("whole", "tmp", "new", "own"):
            maildir = folder / "mail/example.org" / user
            for part in ("tmp", "new", "cur"):
                (maildir / part).mkdir(parents=True)
                os.chmod(maildir / part, 0o700)
                os.chown(maildir / part, 0 if user == part else 8, 0 if user == part else 8)
            os.chmod(maildir, 0o700)
            os.chown(maildir, 0 if user == "whole" else 8, 8)
        with Server(folder, config=config, create=False) as server, server.client() as client:
            users = ("whole", "tmp", "new", "own")
            codes = _deliver(client, *(f"{user}@example.org" for user in users))
            client.quit()

        assert codes == [451, 451, 451, 250]
        assert [path.parent.parent.name for path in (folder / "mail").rglob("*") if path.is_file()] == ["own"]
