"""The cheap checks that catch broken builds: each plays one scene with a server of its own.

A check returns what it complains about: what the automaton of order.py found, what the oracle found after a
kill, an injected error or a lost reply, or that mail was published for a client that had gone.
"""

import ctypes.util
import errno
import fcntl
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.crash.account import Account
from tests.crash.agents import Forked
from tests.crash.books import check_ledger
from tests.crash.client import Behind, Client, settle
from tests.crash.nursery import Nursery
from tests.crash.oracle import check
from tests.crash.order import deliveries, wrong_orders
from tests.crash.points import IGNORED
from tests.crash.scenes import Stage
from tests.crash.shim import Action, Call, Kind, Shim
from tests.support.lmtp_client import LmtpClient
from tests.support.polling import wait_for

A = "a@example.org"
INTO_TMP = "/a/tmp/"


class Build(Forked):
    """A server of one of the broken builds."""

    def __init__(
        self,
        nursery: Nursery,
        name: str,
        folder: Path,
        *,
        mail: Path,
        state: Path,
        flags: Sequence[str] = (),
    ) -> None:
        super().__init__(nursery, "tests.crash.broken", folder=folder, mail=mail, state=state, flags=flags)
        self._arguments.insert(0, name)
        self.ledger = check_ledger(state / "ledger.db")


class Trial:
    """One build on trial, in folders of its own."""

    def __init__(self, shim: Shim, nursery: Nursery, name: str, folder: Path) -> None:
        self.shim = shim
        mail, self.state = folder / "mail", folder / "state"
        self.agent = Build(nursery, name, folder, mail=mail, state=self.state)
        self.account = Account()
        self.client = Client(self.agent.address)
        self.stage = Stage(self.client, self.account, self.agent.mailboxes)
        mail.mkdir()
        shim.watch(mail, self.state, ignoring=IGNORED)

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


def eatmydata() -> str:
    """Return the library's name; without it the test is skipped, or under CI fails."""
    library = ctypes.util.find_library("eatmydata")
    if library is not None:
        return library
    reason = "needs libeatmydata1 (apt-get install libeatmydata1)"
    if os.environ.get("CI") == "true":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


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
    """Hold the server up where it records the message; let the client say its last words and go."""
    trial.start()
    trial.client.quit()
    with (
        LmtpClient.connect(trial.agent.address) as client,
        (trial.state / "ledger.db.lock").open("rb") as lock,
    ):
        client.greet()
        client.send(b"MAIL FROM:<>\r\nRCPT TO:<%b>\r\nDATA\r\n" % A.encode())
        assert [client.reply().code for _ in range(3)] == [250, 250, 354]
        fcntl.flock(lock, fcntl.LOCK_EX)
        trial.shim.arm()
        client.send(b"Subject: x\r\n\r\n.\r\n")
        wait_for(lambda: _waits_for_its_turn(trial.shim.calls()), "the server wants to record the message")
        if last_words:
            client.send(last_words)
        client.close()
    trial.agent.stop()
    stored = list((trial.agent.mailboxes.of(A) / "new").iterdir())
    return ["published for a client that had gone"] if stored else trial.ask(settled=True)


def _waits_for_its_turn(calls: Sequence[Call]) -> bool:
    """Tell whether the message is synced and the ledger's lock is waited for."""
    is_synced = any(call.kind is Kind.FSYNC and INTO_TMP in call.path and call.end for call in calls)
    return is_synced and any(call.kind is Kind.FLOCK and call.end is None for call in calls)


def late_abort(trial: Trial) -> list[str]:
    """A client that has gone before anything was published gets nothing published."""
    return _late_abort(trial, b"")


def late_abort_behind_quit(trial: Trial) -> list[str]:
    """Nor does one that said QUIT as it went, which is what a look at its next octets finds first."""
    return _late_abort(trial, b"QUIT\r\n")
