"""Every broken build is caught, each by the cheapest check that can, and that check passes the unbroken one.

The table TEETH says which. A check plays one scene with a server of its own, and returns what it complains
about: what the automaton of order.py found, what the oracle found after a kill, an injected error or a lost
reply, or that mail was published for a client that had gone.
"""

import ctypes.util
import errno
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.crash.account import Account
from tests.crash.agents import Forked
from tests.crash.books import check_ledger
from tests.crash.broken import BUILDS, UNBROKEN
from tests.crash.client import Behind, Client, settle
from tests.crash.nursery import Nursery
from tests.crash.oracle import check
from tests.crash.order import deliveries, wrong_orders
from tests.crash.points import IGNORED
from tests.crash.scenes import Stage
from tests.crash.shim import Action, Kind, Shim
from tests.support.lmtp_client import LmtpClient
from tests.support.polling import wait_for

pytestmark = pytest.mark.crash

A = "a@example.org"
INTO_TMP = "/a/tmp/"


class Build(Forked):
    """A server of one of the broken builds."""

    def __init__(self, nursery: Nursery, name: str, folder: Path) -> None:
        mail, state = folder / "mail", folder / "state"
        super().__init__(nursery, "tests.crash.broken", folder=folder, mail=mail, state=state)
        self._arguments.insert(0, name)
        self.ledger = check_ledger(state / "ledger.db")


class Trial:
    """One build on trial, in folders of its own."""

    def __init__(self, shim: Shim, nursery: Nursery, name: str, folder: Path) -> None:
        self.shim = shim
        self.state = folder / "state"
        self.agent = Build(nursery, name, folder)
        self.account = Account()
        self.client = Client(self.agent.address)
        self.stage = Stage(self.client, self.account, self.agent.mailboxes)
        (folder / "mail").mkdir()
        shim.watch(folder / "mail", self.state, ignoring=IGNORED)

    def start(self) -> None:
        self.agent.start(self.client)

    def crash(self) -> None:
        self.client.drop()
        self.agent.kill()
        self.shim.disarm()
        self.account.crashed()

    def judge(self) -> list[str]:
        """Send again what has to be, stop, and ask the oracle."""
        settle(self.client, self.account)
        self.client.quit()
        self.agent.stop()
        return self.ask(settled=True)

    def ask(self, *, settled: bool) -> list[str]:
        """Ask the oracle."""
        found = check(
            self.account,
            self.agent.mailboxes,
            settled=settled,
            ledger=self.agent.ledger,
            planted=self.stage.planted,
        )
        return [str(violation) for violation in found]


Check = Callable[[Trial], list[str]]


# ---- the checks -------------------------------------------------------------------------------------


def order(trial: Trial) -> list[str]:
    """First contact, and a mailbox that is open: the automaton's verdict."""
    trial.shim.arm()
    trial.start()
    trial.stage.deliver(A, "b@example.org")
    trial.stage.deliver(A, behind=Behind.QUIT)
    trial.shim.disarm()
    trial.agent.stop()

    calls = trial.shim.calls()
    assert deliveries(calls) == 3
    return wrong_orders(calls, trial.agent.mailboxes, trial.state)


def _with_fault(trial: Trial, action: Action, kind: Kind) -> list[int | None]:
    """Deliver one message after another was; its first call of that kind meets the fault."""
    trial.start()
    trial.stage.deliver(A)
    trial.shim.arm(action, 1, error=errno.EIO, kinds=[kind], only=INTO_TMP)
    sent = trial.stage.deliver(A, behind=Behind.QUIT)
    assert trial.shim.fired is not None
    trial.shim.disarm()
    return sent.replies_to(0)


def close_error(trial: Trial) -> list[str]:
    """EIO at the close of the message file must be answered 4xx."""
    replies = _with_fault(trial, Action.FAIL, Kind.CLOSE)
    return [f"EIO at close was answered {replies}"] if 250 in replies else trial.judge()


def sync_error(trial: Trial) -> list[str]:
    """EIO at the first sync of the message file must be answered 4xx."""
    replies = _with_fault(trial, Action.FAIL, Kind.FSYNC)
    return [f"EIO at fsync was answered {replies}"] if 250 in replies else trial.judge()


def short_write(trial: Trial) -> list[str]:
    """A write that takes half of the octets must not leave half a message."""
    _with_fault(trial, Action.SHORT, Kind.WRITE)
    return trial.judge()


def foreign_files(trial: Trial) -> list[str]:
    """After a crash, what others have in tmp/ stays."""
    trial.start()
    trial.stage.deliver(A)
    trial.stage.plant(A)
    trial.crash()
    trial.start()
    trial.stage.deliver(A)
    return trial.judge()


def same_again(trial: Trial) -> list[str]:
    """Two confirmed messages of equal octets are two messages."""
    trial.start()
    first = trial.account.compose(A)
    trial.client.send(first)
    trial.client.send(trial.account.compose(A, like=first))
    return trial.judge()


def _lost_reply(trial: Trial, behind: Behind) -> list[str]:
    trial.start()
    trial.stage.deliver(A, behind=behind)
    return trial.judge()


def lost_reply(trial: Trial) -> list[str]:
    """The retry of a client that did not read its reply is recognised."""
    return _lost_reply(trial, Behind.LOSES_REPLIES)


def lost_reply_behind_quit(trial: Trial) -> list[str]:
    """So it is if QUIT had come together with the message."""
    return _lost_reply(trial, Behind.QUIT_LOSES_REPLIES)


def kill_before_reply(trial: Trial) -> list[str]:
    """A kill between rename and reply: the retry is recognised after the restart."""
    trial.start()
    trial.stage.deliver(A)
    trial.shim.arm(Action.KILL, 1, kinds=[Kind.FSYNC], only="/a/new")
    trial.stage.deliver(A)
    assert trial.shim.fired is not None
    trial.crash()
    trial.start()
    return trial.judge()


def _late_abort(trial: Trial, last_words: bytes) -> list[str]:
    """Stop the server while it stages, let the client say its last words and go, let the server go on."""
    trial.start()
    trial.client.quit()
    trial.shim.arm(Action.STOP, 1, kinds=[Kind.FSYNC], only=INTO_TMP)
    with LmtpClient.connect(trial.agent.address) as client:
        client.greet("client.example.org")
        client.send(b"MAIL FROM:<>\r\nRCPT TO:<%b>\r\nDATA\r\n" % A.encode())
        assert [client.reply().code for _ in range(3)] == [250, 250, 354]
        client.send(b"Subject: x\r\n\r\n.\r\n")
        worker = wait_for(lambda: trial.shim.fired, "the server syncs the message")
        wait_for(lambda: _is_stopped(worker.pid), "the server has stopped")
        if last_words:
            client.send(last_words)
    os.kill(worker.pid, signal.SIGCONT)
    trial.agent.stop()
    stored = list((trial.agent.mailboxes.of(A) / "new").iterdir())
    return ["published for a client that had gone"] if stored else trial.ask(settled=True)


def _is_stopped(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] == "T"


def late_abort(trial: Trial) -> list[str]:
    """A client that has gone before anything was published gets nothing published."""
    return _late_abort(trial, b"")


def late_abort_behind_quit(trial: Trial) -> list[str]:
    """Nor does one that said QUIT as it went, which is what a look at its next octets finds first."""
    return _late_abort(trial, b"QUIT\r\n")


# Build -> the check that catches it, and how its complaint begins.
TEETH: dict[str, tuple[Check, str]] = {
    "no file sync": (order, "a file is published though it is not synced"),
    "no directory sync": (order, "250 before the sync of new/"),
    "no parent sync": (order, "250, and the entry of "),
    "ledger not synced: NORMAL": (order, "a file is published though its record is not durable"),
    "ledger not synced: OFF": (order, "a file is published though its record is not durable"),
    "record after rename": (order, "a file is published though it has no record in the ledger"),
    "reply before sync": (order, "250 before the sync of new/"),
    "ignored close error": (close_error, "EIO at close was answered [250]"),
    "retried sync": (sync_error, "EIO at fsync was answered [250]"),
    "non-exclusive create": (order, "a file is created over what may be there"),
    "rename that replaces": (order, "a rename may replace another message"),
    "deleting foreign tmp files": (foreign_files, "I7 foreign file touched"),
    "short writes taken for whole": (short_write, "I1 lost"),
    "suppressing confirmed mail": (same_again, "I1 lost"),
    "settled record forgotten": (lost_reply, "I5 doubled"),
    "QUIT taken for a proof": (lost_reply_behind_quit, "I5 doubled"),
    "recovery forgets records": (kill_before_reply, "I5 doubled"),
    "no barrier": (late_abort, "published for a client that had gone"),
    "barrier blind behind QUIT": (late_abort_behind_quit, "published for a client that had gone"),
}
CHECKS = list(dict.fromkeys(check for check, _ in TEETH.values()))

TryOut = Callable[[Check, str], list[str]]


@contextmanager
def on_trial(shim: Shim, nursery: Nursery, name: str, folder: Path) -> Iterator[Trial]:
    """Give the build its folders; nothing of it is left behind."""
    trial = Trial(shim, nursery, name, folder)
    try:
        yield trial
    except BaseException as exc:
        exc.add_note(f"{name}\n--- log of the server\n{trial.agent.log()[-4000:]}")
        raise
    finally:
        trial.shim.disarm()
        trial.client.drop()
        trial.agent.kill()


@pytest.fixture
def try_out(shim: Shim, lmtpd_nursery: Nursery, folder_in_memory: Path) -> TryOut:
    def run(check: Check, name: str) -> list[str]:
        with on_trial(shim, lmtpd_nursery, name, folder_in_memory) as trial:
            return check(trial)

    return run


def test_every_broken_build_has_its_check():
    assert {UNBROKEN, *TEETH} == BUILDS.keys()


@pytest.mark.parametrize("name", TEETH)
def test_broken_build_is_caught(name: str, try_out: TryOut, record_property: Callable[[str, object], None]):
    check, complaint = TEETH[name]

    complaints = try_out(check, name)

    assert [text for text in complaints if text.startswith(complaint)], complaints
    record_property(name, f"{check.__name__}: {complaints[0]}")


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_unbroken_build_passes(check: Check, try_out: TryOut):
    assert try_out(check, UNBROKEN) == []


# ---- the negative control ---------------------------------------------------------------------------


def test_server_whose_syncs_never_reach_the_kernel_is_caught(shim: Shim, folder_in_memory: Path):
    """Debian's eatmydata swallows them; the shim behind it sees what is left."""
    library = _eatmydata()
    environment = {**shim.environment, "LD_PRELOAD": f"{library}:{shim.environment['LD_PRELOAD']}"}

    with (
        Nursery("lmtpd", "storage", "sqlite_utils", environment=environment) as nursery,
        on_trial(shim, nursery, UNBROKEN, folder_in_memory) as trial,
    ):
        complaints = order(trial)

    first_words = {text.partition(": call")[0] for text in complaints}
    assert "a file is published though it is not synced" in first_words
    assert "250 before the sync of new/" in first_words


def _eatmydata() -> str:
    library = ctypes.util.find_library("eatmydata")
    if library is not None:
        return library
    reason = "needs libeatmydata1 (apt-get install libeatmydata1)"
    if os.environ.get("CI") == "true":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)
