import threading
from pathlib import Path

import pytest

from lmtpd.delivery import housekeeping
from lmtpd.delivery.housekeeping import DeadTokens, Housekeeper
from lmtpd.report.records import Level
from storage.history import History
from storage.ledger import Ledger, LedgerError
from storage.owners import Owner
from tests.support.services import KeptReports, deliver, files, make_service


class Alarms(KeptReports):
    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []
        self.told = threading.Event()

    def event(self, level: Level, name: str, **fields: object) -> None:
        self.names.append(name)
        self.told.set()

    def bug(self, exc: BaseException, **fields: object) -> None:
        super().bug(exc, **fields)
        self.told.set()


class Ledgers(Ledger):
    """A ledger that tells when it was flushed, and fails on demand."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, Owner.of_this_process())
        self.flushed = threading.Event()
        self.failure: Exception | None = None

    def flush(self) -> None:
        if self.failure is not None:
            raise self.failure
        super().flush()
        self.flushed.set()


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(housekeeping, "FLUSH_S", 0.001)


def test_a_confirmation_is_written_down_without_load(tmp_path: Path):
    service = make_service(tmp_path)
    ledger = Ledgers(tmp_path / "state/ledger.db")
    keeper = Housekeeper(ledger, service.history, history_days=1, reporter=service.reporter)

    keeper.start()

    assert ledger.flushed.wait(10)
    keeper.stop()
    service.close()


def test_trouble_is_told_once_and_the_thread_lives_on(tmp_path: Path):
    ledger, reporter = Ledgers(tmp_path / "ledger.db"), Alarms()
    ledger.failure = LedgerError("disk full")
    keeper = Housekeeper(ledger, History(tmp_path / "history.db"), history_days=1, reporter=reporter)

    keeper.start()
    assert reporter.told.wait(10)
    ledger.failure = None
    assert ledger.flushed.wait(10)
    keeper.stop()

    assert reporter.names == ["housekeeping_failed"]


def test_a_bug_does_not_end_the_thread(tmp_path: Path):
    ledger, reporter = Ledgers(tmp_path / "ledger.db"), Alarms()
    ledger.failure = KeyError("bug")
    keeper = Housekeeper(ledger, History(tmp_path / "history.db"), history_days=1, reporter=reporter)

    keeper.start()
    assert reporter.told.wait(10)
    ledger.failure = None
    assert ledger.flushed.wait(10)
    keeper.stop()

    assert isinstance(reporter.bugs[0], KeyError)


def test_a_service_that_is_closed_has_written_everything_down(tmp_path: Path):
    service = make_service(tmp_path)
    transaction, _ = deliver(service, ["a@example.org"], b"x\r\n")
    transaction.confirm()

    service.close()
    again = make_service(tmp_path)
    deliver(again, ["a@example.org"], b"x\r\n")

    assert len(files(tmp_path, "example.org/a")) == 2


def test_those_who_died_meanwhile_are_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(housekeeping, "BURY_S", 0.0)
    buried = threading.Event()
    ledger = Ledgers(tmp_path / "ledger.db")
    history = History(tmp_path / "history.db")
    keeper = Housekeeper(ledger, history, history_days=1, reporter=KeptReports(), bury=buried.set)

    keeper.start()

    assert buried.wait(10)
    keeper.stop()


def test_dead_tokens_tell_what_is_new(tmp_path: Path):
    class Registry(Ledger):
        tokens: frozenset[str] = frozenset()

        def dead_tokens(self) -> frozenset[str]:
            return self.tokens

    ledger = Registry(tmp_path / "ledger.db", Owner.of_this_process())
    dead = DeadTokens(ledger)

    assert not dead.look()
    ledger.tokens = frozenset({"ab"})
    assert dead() == frozenset()
    assert dead.look()
    assert dead() == {"ab"}
    assert not dead.look()
