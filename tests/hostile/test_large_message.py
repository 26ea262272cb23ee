"""A message larger than the memory that the server may use: 128 MB for all of it, or for each process.

A short run sends 160 MB; with SOAK=1 it is 1 GiB. The mail lies on a disk, not in memory: that would count.
"""

import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from tests.support.lmtp_client import LmtpClient
from tests.support.maildirs import files
from tests.support.memory_limit import control_group, data_limit
from tests.support.requirements import need
from tests.support.server import Server

pytestmark = [pytest.mark.system, pytest.mark.slow, pytest.mark.serial]

MEGABYTE = 1 << 20
LIMIT = 128 * MEGABYTE
LARGE = (1024 if os.environ.get("SOAK") == "1" else 160) * MEGABYTE
BLOCK = (b"0123456789abcdef" * 4 + b"\r\n") * 1000
BLOCKS = LARGE // len(BLOCK)
FLAGS = ("--workers", "1", "--set", f"limits.message_octets={LARGE + MEGABYTE}")
RECIPIENTS = ("one@example.org", "two@example.org")

Limit = Callable[[Path], AbstractContextManager[Server]]


@pytest.fixture
def folder_on_disk() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="lmtpd-large-", dir="/var/tmp") as name:
        yield Path(name)


@contextmanager
def all_together(folder: Path) -> Iterator[Server]:
    """128 MB for all processes and their files, or the kernel kills."""
    need("control group")
    with control_group(LIMIT) as group, Server(folder, flags=FLAGS, wrapper=group.wrapper) as server:
        yield server
        assert group.kills == 0


@contextmanager
def each_process(folder: Path) -> Iterator[Server]:
    """128 MB reserved by each process, or it fails."""
    need("prlimit")
    with Server(folder, flags=FLAGS, wrapper=data_limit(LIMIT)) as server:
        yield server


def children_of(server: Server) -> set[str]:
    """The processes that serve, or help; one that died would have been replaced."""
    return set(Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text(encoding="ascii").split())


def _send(client: LmtpClient, chunk_blocks: int) -> str:
    """Send the message, by DATA or in chunks; return the digest of its form on disk."""
    expected = hashlib.sha256()
    if not chunk_blocks:
        assert client.command("DATA").code == 354
    for number in range(BLOCKS):
        if chunk_blocks and number % chunk_blocks == 0:
            count = min(chunk_blocks, BLOCKS - number)
            client.send(b"BDAT %d%s\r\n" % (len(BLOCK) * count, b" LAST" * (number + count == BLOCKS)))
        client.send(BLOCK)
        expected.update(BLOCK.replace(b"\r\n", b"\n"))
        if chunk_blocks and number % chunk_blocks == chunk_blocks - 1 and number + 1 < BLOCKS:
            assert client.reply().code == 250
    if not chunk_blocks:
        client.send(b".\r\n")
    return expected.hexdigest()


def _digest_behind_our_header(path: Path) -> str:
    """Our header ends with a Received field, whose folded lines begin with white space."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while not file.readline().startswith(b"Received:"):
            pass
        while (line := file.readline()).startswith((b" ", b"\t")):
            pass
        digest.update(line)
        while data := file.read(MEGABYTE):
            digest.update(data)
    return digest.hexdigest()


@pytest.mark.parametrize("limited", [all_together, each_process])
@pytest.mark.parametrize("chunk_blocks", [0, 160], ids=["DATA", "BDAT"])
def test_a_message_larger_than_the_memory_is_stored_whole(
    folder_on_disk: Path, limited: Limit, chunk_blocks: int
):
    with limited(folder_on_disk) as server, server.client(timeout_s=600) as client:
        before = children_of(server)
        assert [reply.code for reply in client.envelope("s@example.org", RECIPIENTS)] == [250, 250]

        digest = _send(client, chunk_blocks)

        assert [reply.code for reply in client.replies(2)] == [250, 250]
        client.quit()
        assert before <= children_of(server)
        for user in RECIPIENTS:
            (stored,) = files(server.maildir(user))
            assert _digest_behind_our_header(stored) == digest
