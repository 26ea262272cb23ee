"""Every call on one recipient's mailbox fails once, or from then on; the other recipients do not notice.

The driver, session and service are the real ones, within this process: only here each single call can be
told, lstat(2) and fstat(2) included. test_injected_errors.py does it to the real server.
"""

import errno
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.crash.account import Account
from tests.crash.books import check_ledger
from tests.crash.client import Behind, Client, settle
from tests.crash.oracle import Kind, Mailboxes, check
from tests.hostile.inprocess import InProcess
from tests.hostile.watched_disk import WatchedDisk
from tests.support.server import Server
from tests.support.services import make_service

pytestmark = [pytest.mark.crash, pytest.mark.slow]

ERRORS = {
    errno.EIO: 451,
    errno.ENOSPC: 452,
    errno.EDQUOT: 452,
    errno.EROFS: 451,
    errno.EACCES: 451,
    errno.EMFILE: 451,
    errno.ESTALE: 451,
    errno.EINTR: 451,
}
MODES = ("first contact", "open mailbox")
# Looking for leftovers, and whether an open mailbox is still in its place, are steps whose failure alone need
# not hinder a delivery; what a closed directory answers says nothing about a message.
HARMLESS = {"close", "list_names", "status"}


class Bench:
    """One server, and for each trial a victim of its own; `b` and `c` are the others."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.disk = WatchedDisk()
        self.service = make_service(folder, disk=self.disk)
        self.account = Account()
        self.seen: Counter[str] = Counter()
        self._trials = 0
        (folder / "mail/example.org").mkdir(mode=0o700)

    def trial(self, client: Client, code: int, n: int, *, forever: bool, warm: bool) -> bool:
        """Fail the n-th call; return False if there was none."""
        self._trials += 1
        victim = f"v{self._trials}"
        address = f"{victim}@example.org"
        if warm:
            client.send(self.account.compose(address))
        count, struck, where = 0, "", ""

        def before(call: str, path: str) -> None:
            nonlocal count, struck, where
            if call == "unlink":
                return  # it tidies up; what it misses is for maildir-clean
            count += 1
            if count == n or (forever and count > n):
                if not struck:
                    struck, where = call, path
                raise OSError(code, os.strerror(code), path)

        self.disk.victim, self.disk.before = victim, before
        sent = self.account.compose(address, "b@example.org", "c@example.org")
        client.send(sent, Behind.RSET)
        if forever and struck:
            client.send(sent, Behind.RSET)
        self.disk.victim = ""
        answers = sent.replies_to(0)
        assert sent.replies_to(1) == sent.replies_to(2) == [250], (struck, errno.errorcode[code])
        if struck and forever and struck not in HARMLESS:
            assert ERRORS[code] in answers, (struck, errno.errorcode[code], answers)
        assert set(answers) <= {250, 451, ERRORS[code]}, (struck, errno.errorcode[code], answers)
        if _is_final(struck, where):
            assert answers[0] == ERRORS[code], (struck, where, errno.errorcode[code], answers)
        self.seen[struck] += 1
        return bool(struck)


def _is_final(call: str, path: str) -> bool:
    """Tell whether one failure of the call must defer: those on the message itself, and on its directory."""
    of_message = call in {"create", "write", "sync", "close"} and "/tmp/" in path
    return of_message or call == "rename_exclusive" or (call == "sync" and path.rstrip("/").endswith("/new"))


@pytest.fixture
def bench(folder_in_memory: Path) -> Iterator[Bench]:
    bench = Bench(folder_in_memory)
    yield bench
    bench.service.close()


@pytest.mark.parametrize("forever", [False, True], ids=["once", "from then on"])
@pytest.mark.parametrize("mode", MODES)
def test_a_failing_call_defers_its_recipient_and_nobody_else(bench: Bench, mode: str, forever: bool):
    with InProcess(bench.service, bench.folder) as server:
        client = Client(server.address)
        for code in ERRORS:
            n = 1
            while bench.trial(client, code, n, forever=forever, warm=mode == MODES[1]):
                n += 1
            assert n > 5, "the calls are not seen"
        settle(client, bench.account)
        client.quit()
    bench.service.ledger.close()

    mailboxes = Mailboxes(root=bench.folder / "mail")
    books = check_ledger(bench.folder / "state/ledger.db")
    assert check(bench.account, mailboxes, settled=True, ledger=books, may_stay=True) == []
    assert {"create", "write", "sync", "close", "rename_exclusive", "status"} <= set(bench.seen)
    if mode == MODES[0]:
        assert {"open_directory", "make_directory"} <= set(bench.seen)


def test_what_could_not_be_removed_hinders_nothing(folder_in_memory: Path):
    bench = Bench(folder_in_memory)
    address = "stuck@example.org"
    sent = bench.account.compose(address, "b@example.org")

    def before(call: str, path: str) -> None:
        if call in {"sync", "unlink"} and "/tmp/" in path:
            raise OSError(errno.EIO, os.strerror(errno.EIO), path)

    bench.disk.victim, bench.disk.before = "stuck", before
    with InProcess(bench.service, bench.folder) as server:
        client = Client(server.address)
        client.send(sent, Behind.QUIT)
    bench.service.close()
    assert [sent.replies_to(place) for place in (0, 1)] == [[451], [250]]
    assert len(list((folder_in_memory / "mail/example.org/stuck/tmp").iterdir())) == 1

    with Server(folder_in_memory) as next_server:
        client = Client(next_server.addresses[0])
        settle(client, bench.account)
        client.quit()

    mailboxes = Mailboxes(root=folder_in_memory / "mail")
    assert sent.replies_to(0) == [451, 250]
    found = check(
        bench.account, mailboxes, settled=True, ledger=check_ledger(next_server.state / "ledger.db")
    )
    # A server that ended in order has told nobody of the file: it is left to maildir-clean.
    assert {violation.kind for violation in found} <= {Kind.LEFTOVER}, found
