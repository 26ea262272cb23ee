"""Beside the deliveries of a worker: sees mailboxes fill and empty, tells their owners, keeps accounts true.

One thread per worker, from the first mailbox that has a quota. Each worker judges what it has seen; that
an owner is told, that mailboxes are watched and counted, is the business of one of them, whichever holds
a lock. What is to be told is in a file first (`storage/quota_state.py`), and goes from it when it was told.
"""

import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from lmtpd.delivery.errand import deliver_own
from lmtpd.delivery.quota import Quotas
from lmtpd.delivery.quota_notice import HYSTERESIS, is_worth_telling, level_of, message_of
from lmtpd.delivery.quota_truth import Truth
from lmtpd.delivery.service import Service
from lmtpd.protocol.addresses import Address, AddressError, parse_path
from lmtpd.recipients.mailbox import Mailbox, own_address
from lmtpd.report.records import Level
from storage.quota import Standing
from storage.quota_state import Notice, QuotaStateError, Remembered
from storage.server_lock import ServerLock, ServerRunning

TICK_S = 1.0
REFRESH_S = 10.0  # how long one worker may not know what another has done
AGAIN_S = 60.0  # after a notice could not be delivered
GIVE_UP_S = 7 * 86_400.0
COMMAND_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class KeeperRules:
    """The `[quota]` section as this module needs it."""

    thresholds: tuple[int, ...]  # in percent; none: nobody is told
    command: str | None  # told instead of the owner
    postmaster: str
    refuses: bool  # what is said of a full mailbox
    maildirs: int  # watched at most
    sample_s: float


class QuotaKeeper:
    """start() and stop() are for any thread, the rest for its own."""

    def __init__(
        self,
        service: Service,
        quotas: Quotas,
        rules: KeeperRules,
        *,
        lock: Path,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._service = service
        self._quotas = quotas
        self._rules = rules
        self._lock_path = lock
        self._clock = clock
        self._lock: ServerLock | None = None
        self._truth = Truth(quotas.files, service.reporter, maildirs=rules.maildirs, sample_s=rules.sample_s)
        self._remembered: dict[str, Remembered] = {}
        self._refresh_at = 0.0
        self._again_at: dict[int, float] = {}  # by the notice's id
        self._guard = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._is_failing = False

    def start(self) -> None:
        """Begin, unless it has begun."""
        with self._guard:
            if self._thread is None and not self._stop.is_set():
                self._thread = threading.Thread(target=self._run, name="quota", daemon=True)
                self._thread.start()

    def stop(self) -> None:
        """End, once and for all; what was seen last is judged before."""
        self._stop.set()
        with self._guard:
            if self._thread is not None:
                self._thread.join()
        self._attempt(self.judge)
        self._truth.close()
        lock, self._lock = self._lock, None
        if lock is not None:
            lock.close()

    def judge(self) -> None:
        """Judge what deliveries have seen. Raise QuotaStateError."""
        seen = self._quotas.take_seen()
        if seen or self._quotas.state.exists:
            self._refresh()
        for each in seen:
            self._truth.meet(each.mailbox, each.box)
            self._judge(each.mailbox, each.standing)

    def tell_and_check(self) -> None:
        """What one worker does for all. Raise QuotaStateError."""
        if not self._is_elected():
            return
        if self._quotas.state.exists:
            for notice in self._quotas.state.notices():
                if self._clock() >= self._again_at.get(notice.id, 0.0):
                    self._tell(notice)
        self._meet_remembered()
        for checked in self._truth.check(self._remembered.keys()):
            self._judge(checked.mailbox, checked.standing)

    def _run(self) -> None:
        while not self._stop.wait(TICK_S):
            self._attempt(self.judge)
            self._attempt(self.tell_and_check)

    def _attempt(self, step: Callable[[], None]) -> None:
        try:
            step()
        except QuotaStateError as exc:
            if not self._is_failing:
                self._is_failing = True
                self._service.reporter.event(Level.ERROR, "quota_state_failed", error=str(exc))
        except Exception as exc:  # noqa: BLE001 a bug here must not end the thread
            self._service.reporter.bug(exc, task="quota")
        else:
            self._is_failing = False

    # -- levels

    def _refresh(self) -> None:
        if self._clock() < self._refresh_at:
            return
        self._refresh_at = self._clock() + REFRESH_S
        self._remembered = self._quotas.state.look()
        self._quotas.note_full({path for path, it in self._remembered.items() if it.full_since is not None})

    def _judge(self, mailbox: Mailbox, standing: Standing) -> None:
        """Move a mailbox to the threshold that it is at, and forget that it was full if it has room."""
        path = mailbox.maildir.path
        known = self._remembered.get(path, Remembered())
        share = standing.limit.share(standing.usage)
        level = level_of(share, known.level, self._rules.thresholds)
        state = self._quotas.state
        if level != known.level:
            usage = standing.usage
            notice = Notice(
                id=0,
                maildir=path,
                address=own_address(mailbox),
                level=level,
                at=self._clock(),
                octets=usage.octets,
                messages=usage.messages,
                limit=str(standing.limit),
            )
            is_told = bool(self._rules.thresholds) and is_worth_telling(known.level, level)
            crossed = "warning" if level else "below_warnings"
            telling = self._telling(crossed, mailbox, standing, percent=level or None) if is_told else None
            state.change_level(known.level, notice, is_told=is_told, telling=telling)
            self._refresh_at = 0.0
            self._refresh()
        if known.full_since is not None and share < 1 - HYSTERESIS:
            state.has_room(path, telling=self._telling("has_room", mailbox, standing))
            self._refresh_at = 0.0

    def _telling(
        self, state: str, mailbox: Mailbox, standing: Standing, *, percent: int | None = None
    ) -> Callable[[], None] | None:
        announcer = self._service.announcer
        if announcer is None:
            return None
        return partial(announcer.crossed, state, mailbox, standing, percent=percent)

    # -- for all workers

    def _is_elected(self) -> bool:
        if self._lock is None:
            try:
                self._lock = ServerLock(self._lock_path)
            except (ServerRunning, OSError):
                return False
        return True

    def _meet_remembered(self) -> None:
        """Know again, after a restart, the mailboxes whose owners wait for word that there is room."""
        for path, remembered in self._remembered.items():
            if not self._truth.knows(path):
                address = _parsed(remembered.address)
                mailbox = self._service.directory.find(address) if address is not None else None
                if isinstance(mailbox, Mailbox) and mailbox.maildir.path == path:
                    box = self._quotas.box_of(mailbox)
                    if box is not None:
                        self._truth.meet(mailbox, box)

    def _tell(self, notice: Notice) -> None:
        if self._rules.command is not None:
            why = self._run_command(self._rules.command, notice)
        else:
            why = self._send(notice)
        if not why or self._clock() - notice.at > GIVE_UP_S:
            self._quotas.state.told(notice)
            self._again_at.pop(notice.id, None)
        else:
            self._again_at[notice.id] = self._clock() + AGAIN_S
        self._service.reporter.event(
            Level.WARNING if why else Level.INFO,
            "quota_notice",
            to=notice.address,
            percent=notice.level,
            failed=why or None,
        )

    def _send(self, notice: Notice) -> str:
        """Put a message into the mailbox; return why it is not there, or nothing."""
        address = _parsed(notice.address)
        if address is None:
            return "not an address"
        message = message_of(
            notice,
            hostname=self._service.hostname,
            postmaster=self._rules.postmaster,
            refuses=self._rules.refuses,
        )
        state = self._quotas.state
        reply = deliver_own(self._service, address, message, delivered=lambda: state.told(notice))
        return "" if reply.accepted else f"{reply.code} {reply.status} {reply.lines[0]}"

    def _run_command(self, command: str, notice: Notice) -> str:
        """Run the administrator's command; return why it failed, or nothing."""
        words = (notice.address, notice.level, notice.octets, notice.messages, notice.limit)
        try:
            done = subprocess.run(
                [command, *map(str, words)],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=COMMAND_S,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as exc:
            return str(exc)
        return "" if done.returncode == 0 else f"exit code {done.returncode}"


def _parsed(text: str) -> Address | None:
    try:
        return parse_path(f"<{text}>".encode(), smtputf8=True)[0]
    except AddressError:
        return None
