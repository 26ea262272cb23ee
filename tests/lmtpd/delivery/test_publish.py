"""A name that is taken: another file lies in new/ under the name that the record tells."""

from pathlib import Path

import pytest

from storage.ledger import LedgerError
from tests.hostile.watched_disk import WatchedDisk
from tests.support.services import BODY, A, body_of, codes, deliver, files, leftovers, make_service


class TakenNames(WatchedDisk):
    """Puts a foreign file in the way of the first `times` renames into a mailbox."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.victim = "a"
        self.before = self._plant
        self.planted: list[Path] = []
        self._times = times

    def _plant(self, call: str, path: str) -> None:
        if call == "rename_exclusive" and len(self.planted) < self._times:
            Path(path).write_bytes(b"foreign")
            self.planted.append(Path(path))


@pytest.mark.parametrize("recognise", [True, False])
def test_a_name_that_is_taken_is_replaced_by_another(tmp_path: Path, recognise: bool):
    disk = TakenNames(1)
    service = make_service(tmp_path, disk=disk, recognise=recognise)

    _, answered = deliver(service, [A], BODY)

    assert codes(answered) == [250]
    (stored,) = [path for path in files(tmp_path, "example.org/a") if path not in disk.planted]
    assert body_of(stored) == BODY.replace(b"\r\n", b"\n")
    assert stored.name.endswith(disk.planted[0].name.partition(",")[2])  # the sizes are still told
    assert disk.planted[0].read_bytes() == b"foreign"
    assert leftovers(tmp_path) == []


def test_the_retry_of_it_is_recognised(tmp_path: Path):
    disk = TakenNames(1)
    service = make_service(tmp_path, disk=disk)
    transaction, _ = deliver(service, [A], BODY)
    transaction.release()

    _, answered = deliver(service, [A], BODY)

    assert codes(answered) == [250]
    assert len(files(tmp_path, "example.org/a")) == 2  # one of them is foreign


@pytest.mark.parametrize("times", [2, 5])
def test_a_retry_is_not_recognised_by_the_files_that_were_in_the_way(tmp_path: Path, times: int):
    disk = TakenNames(times)
    service = make_service(tmp_path, disk=disk)
    attempts = []

    for _ in range(3):
        transaction, answered = deliver(service, [A], BODY)
        attempts += codes(answered)
        transaction.release()

    stored = [path for path in files(tmp_path, "example.org/a") if path not in disk.planted]
    assert attempts == ([451, 250, 250] if times == 2 else [451, 451, 250])
    assert len(stored) == 1


def test_a_ledger_that_fails_then_leaves_no_record_of_the_foreign_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    disk = TakenNames(1)
    service = make_service(tmp_path, disk=disk)

    def fail(_: object) -> None:
        raise LedgerError("the ledger is full")

    with monkeypatch.context() as patched:
        patched.setattr(service.ledger, "amend", fail)
        transaction, answered = deliver(service, [A], BODY)
        transaction.release()
    assert codes(answered) == [451]
    assert answered[0].status == "4.3.0"

    _, answered = deliver(service, [A], BODY)

    assert codes(answered) == [250]
    assert len([path for path in files(tmp_path, "example.org/a") if path not in disk.planted]) == 1
