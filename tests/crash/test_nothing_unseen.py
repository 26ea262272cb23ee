"""What the shim does not see cannot be crashed at: strace, which sees all, must not see more.

A program escapes the shim with raw system calls, or where libc calls itself. Held against each other over one
run of the server: everything that changes files of ours, and everything that is sent.
"""

import re
from collections import Counter
from pathlib import Path

import pytest

from tests.crash.account import Account
from tests.crash.client import Behind, Client
from tests.crash.points import IGNORED
from tests.crash.shim import Kind, Shim
from tests.support.requirements import need
from tests.support.server import Server

pytestmark = [pytest.mark.crash, pytest.mark.system, pytest.mark.slow]

# Whatever changes a file or a directory, has a part in making it durable, or sends.
_CALLS = {
    **dict.fromkeys(("open", "openat", "openat2", "creat"), Kind.OPEN),
    **dict.fromkeys(("mkdir", "mkdirat"), Kind.MKDIR),
    **dict.fromkeys(("write", "pwrite64", "writev", "pwritev", "pwritev2"), Kind.WRITE),
    **dict.fromkeys(("copy_file_range", "sendfile"), Kind.COPY),
    **dict.fromkeys(("fsync", "sync_file_range"), Kind.FSYNC),
    "syncfs": Kind.SYNCFS,
    "fdatasync": Kind.FDATASYNC,
    **dict.fromkeys(("rename", "renameat", "renameat2"), Kind.RENAME),
    **dict.fromkeys(("link", "linkat"), Kind.LINK),
    **dict.fromkeys(("unlink", "unlinkat"), Kind.UNLINK),
    "rmdir": Kind.RMDIR,
    **dict.fromkeys(("truncate", "ftruncate", "fallocate"), Kind.TRUNCATE),
    **dict.fromkeys(("sendto", "sendmsg", "sendmmsg"), Kind.SEND),
    **dict.fromkeys(("io_uring_setup", "io_submit"), Kind.WRITE),
}
_LINE = re.compile(r"\d+ +(?P<call>\w+)\((?P<arguments>.*)")
_FD = re.compile(r"(?:\d+|AT_FDCWD)<(?P<path>[^>]*)>(?:, \"(?P<name>[^\"]*)\")?")
_NAME = re.compile(r"\"(?P<name>[^\"]*)\"")

Seen = Counter[tuple[Kind, str]]


def test_no_call_that_matters_goes_unseen(tmp_path: Path) -> None:
    need("ptrace")
    trace = tmp_path / "trace"
    with Shim(whole_group=False) as shim:
        shim.watch(tmp_path, ignoring=IGNORED)
        preload = [f"{name}={value}" for name, value in shim.environment.items()]
        # -D: the server itself is the child, and hears the SIGTERM that ends it.
        options = ["-D", "-f", "-yy", "-s", "0", "-o", str(trace), "-e", f"trace={','.join(_CALLS)}"]
        wrapper = ["strace", *options, "env", *preload]
        shim.arm()
        with Server(tmp_path, flags=["--workers", "1"], wrapper=wrapper) as server:
            deliver_all_sorts(server)
        by_shim = seen_by_shim(shim, tmp_path)

    by_strace = seen_by_strace(trace, tmp_path)
    assert not by_strace - by_shim, "calls that the shim does not see"
    assert sum(by_strace.values()) > 50


def deliver_all_sorts(server: Server) -> None:
    """Small, large, to several, in chunks, and a reply that is lost."""
    account, client = Account(), Client(server.addresses[0])
    client.send(account.compose("a@example.org", "b@example.org"), Behind.NOTHING)
    client.send(account.compose("a@example.org", "b@example.org", octets=3_000_000), Behind.NOTHING)
    client.send(account.compose("a@example.org", octets=9000), chunk_octets=4096)
    lost = account.compose("c@example.org")
    client.send(lost, Behind.QUIT_LOSES_REPLIES)
    client.send(lost)
    assert not account.open


def seen_by_shim(shim: Shim, folder: Path) -> Seen:
    return Counter(
        (call.kind, "socket" if call.kind is Kind.SEND else str(Path(call.path).relative_to(folder)))
        for call in shim.calls()
    )


def seen_by_strace(trace: Path, folder: Path) -> Seen:
    """Read strace's file: calls on stream sockets, and those on watched files that were done."""
    seen: Seen = Counter()
    for line in trace.read_text(encoding="utf-8", errors="replace").splitlines():
        found = _LINE.match(line)
        if found is None or found["call"] not in _CALLS:
            continue
        kind, arguments = _CALLS[found["call"]], found["arguments"]
        # Opening what exists, to read, changes nothing; libc does so by itself in scandir().
        if kind is Kind.OPEN and "O_CREAT" not in arguments:
            continue
        path = _path(arguments, kind)
        if path.startswith(("UNIX-STREAM:", "TCP:")) and kind in {Kind.SEND, Kind.WRITE}:
            seen[Kind.SEND, "socket"] += 1
        elif path.startswith(f"{folder}/") and not any(part in path for part in IGNORED):
            seen[kind, path.removeprefix(f"{folder}/")] += 1
    return seen


def _path(arguments: str, kind: Kind) -> str:
    if kind is Kind.COPY and (target := re.search(r", \d+<([^>]*)>", arguments)):
        return target[1]
    if (found := _FD.match(arguments)) is None:
        found = _NAME.match(arguments)
        return found["name"] if found else ""
    path, name = found["path"], found["name"]
    if name is None or kind in {Kind.WRITE, Kind.SEND}:
        return path
    return name if name.startswith("/") else f"{path}/{name}"
