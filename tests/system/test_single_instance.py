"""One copy for many recipients, on real file systems and through the real command line."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.crash.mounts import Mounted, mounted, need_mounts
from tests.support import maildirs
from tests.support.server import Server

pytestmark = pytest.mark.system

# Names of many lengths: the fields on top would begin the bodies at as many places.
RECIPIENTS = [f"{'u' * length}@example.org" for length in (1, 2, 3, 5, 8, 13, 21, 34)]
OCTETS = 1_500_000
BODY = b"Subject: large\r\n\r\n" + b"0123456789abcdef012345678901234567890123456789\r\n" * (OCTETS // 48)


@pytest.fixture(scope="module")
def file_systems() -> Iterator[dict[str, Mounted]]:
    need_mounts("ext4", "xfs")
    with mounted("ext4", "xfs") as (ext4, xfs):
        yield {"ext4": ext4, "xfs": xfs}


def used(mount: Mounted) -> int:
    os.sync()
    return shutil.disk_usage(mount.path).used


@pytest.mark.parametrize(
    "file_system, rule, copies",
    [("xfs", "share", 1), ("ext4", "share", len(RECIPIENTS)), ("ext4", "link", 1)],
)
def test_what_a_message_for_many_takes(
    file_systems: dict[str, Mounted], tmp_path: Path, file_system: str, rule: str, copies: int
):
    mount = file_systems[file_system]
    folder = mount.path / f"{file_system}-{rule}"
    folder.mkdir()
    flags = [
        "--set",
        f"delivery.single_instance={rule}",
        "--workers",
        "1",
        "--state",
        str(tmp_path / "state"),
    ]
    with Server(folder, flags=flags) as server, server.client() as client:
        client.deliver("s@example.net", RECIPIENTS, b"Subject: first contact\r\n\r\n")
        before = used(mount)

        replies = client.deliver("s@example.net", RECIPIENTS, BODY)
        taken = used(mount) - before
        client.quit()

        assert [reply.code for reply in replies] == [250] * len(RECIPIENTS)
        assert copies * OCTETS * 0.9 < taken < copies * OCTETS + 500_000
        inodes = set()
        for recipient in RECIPIENTS:
            (message,) = [
                path for path in maildirs.files(server.maildir(recipient)) if path.stat().st_size > OCTETS / 2
            ]
            data = message.read_bytes()
            inodes.add(message.stat().st_ino)
            assert data.endswith(BODY.replace(b"\r\n", b"\n"))
            assert (f"\nDelivered-To: {recipient}\n".encode() in data) == (rule != "link")
        assert len(inodes) == (1 if rule == "link" else len(RECIPIENTS))
    shutil.rmtree(folder)
