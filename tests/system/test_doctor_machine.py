"""`lmtpd doctor` on mailboxes, state and machine; see test_doctor.py."""

import os
import re
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from storage.history import History, HistoryRow
from tests.support.patient import USER, Patient, as_flags, healthy, run, write_postfix
from tests.support.requirements import need

pytestmark = [pytest.mark.system, pytest.mark.xdist_group("doctor")]


@pytest.fixture(scope="module")
def patient() -> Iterator[Patient]:
    with healthy() as patient:
        yield patient


@pytest.fixture(autouse=True)
def restored(patient: Patient) -> Iterator[None]:
    yield
    write_postfix(patient.etc, patient.queue)


@contextmanager
def planted(path: Path) -> Iterator[Path]:
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        path.unlink(missing_ok=True)


def plant_owner(path: Path) -> None:
    path.mkdir()


def plant_mode(path: Path) -> None:
    path.mkdir(0o500)
    shutil.chown(path, USER)


def plant_link(path: Path) -> None:
    target = path.parent / ".elsewhere"
    target.mkdir()
    shutil.chown(target, USER)
    path.symlink_to(target)


def plant_file(path: Path) -> None:
    path.write_text("")
    shutil.chown(path, USER)


def plant_upper_case(path: Path) -> None:
    upper = path.with_name("User")
    upper.mkdir()
    shutil.chown(upper, USER)


def plant_twin(path: Path) -> None:
    plant_upper_case(path)
    path.mkdir()
    shutil.chown(path, USER)
    (path.with_name("User") / "new").mkdir()
    (path.with_name("User") / "new" / "1.x").write_text("kept")


@pytest.mark.parametrize(
    "plant, key",
    [
        (plant_owner, "mailboxes.owner"),
        (plant_mode, "mailboxes.mode"),
        (plant_link, "mailboxes.link"),
        (plant_file, "mailboxes.file"),
        (plant_upper_case, "mailboxes.case"),
        (plant_twin, "mailboxes.twin"),
    ],
)
def test_mailbox_is_found_and_mended_by_the_line(patient: Patient, plant: Callable[[Path], None], key: str):
    domain = patient.mailbox("a@planted.example").parent
    with planted(domain):
        plant(domain / "user")

        finding = patient.only()
        run(finding["mend"])
        mended = patient.examine()
        kept = domain / "user" / "new" / "1.x"
        assert plant is not plant_twin or kept.read_text() == "kept"

    assert finding["key"] == key
    # A file that was in the way is set aside under a name that is one, too: until it is imported.
    assert [each["key"] for each in mended] == (["mailboxes.file"] if plant is plant_file else [])


def test_many_of_a_kind_are_summed_up(patient: Patient):
    domain = patient.mailbox("a@planted.example").parent
    with planted(domain):
        for number in range(10):
            (domain / f"user{number}").mkdir()
        found = patient.examine()

    assert [each["key"] for each in found] == ["mailboxes.owner"] * 3
    assert "(and 7 more)" in found[0]["problem"]


def test_root_that_is_missing(patient: Patient):
    finding = patient.only("--mailboxes", f"{patient.folder}/nowhere/{{domain}}/{{user}}")

    assert finding["key"] == "mailboxes.root"
    run(finding["mend"])
    assert (patient.folder / "nowhere").owner() == USER
    (patient.folder / "nowhere").rmdir()


def test_damaged_ledger(patient: Patient):
    path = patient.folder / "other.db"
    path.write_bytes(b"nothing that SQLite knows" * 400)
    finding = patient.only("--set", f"ledger.url=sqlite://{path}")

    assert finding["key"] == "state.ledger"
    run(finding["mend"])
    assert not path.exists()
    assert patient.examine("--set", f"ledger.url=sqlite://{path}") == []


def test_foreign_file_in_the_state(patient: Patient):
    path = patient.server.state / "forgotten"
    path.touch()
    try:
        finding = patient.only()
        run(finding["mend"])
        mended = patient.examine()
    finally:
        path.unlink()

    assert finding["key"] == "state.owner"
    assert mended == []


def test_clock_behind_its_own_records(patient: Patient):
    history = History(patient.server.state / "history.db")
    history.add([HistoryRow(at=time.time() + 3600, outcome="delivered")])
    history.close()
    for name in patient.server.state.iterdir():
        shutil.chown(name, USER, USER)
    finding = patient.only()
    with sqlite3.connect(patient.server.state / "history.db") as connection:
        connection.execute("DELETE FROM history_0")
    connection.close()

    assert (finding["key"], finding["mend"]) == ("clock", "timedatectl set-ntp true")
    assert re.search(r"the clock is 3[56]\d\d s behind", finding["problem"])


def test_volatile_file_system(patient: Patient):
    folder = Path(f"/dev/shm/lmtpd-{os.getpid()}")
    with planted(folder):
        folder.mkdir()
        finding = patient.only("--mailboxes", f"{folder}/{{domain}}/{{user}}")

    assert finding["key"] == "disk.volatile"
    assert f"{folder} (mailboxes) is tmpfs" in finding["problem"]
    assert finding["mend"].startswith('path = "/srv/mail/{domain}/{user}"   # [mailboxes]')


def test_durability_and_root(patient: Patient):
    other = patient.only("--set", "delivery.durability=data")

    assert (other["key"], as_flags(other["mend"])) == (
        "delivery.durability",
        ["--set", 'delivery.durability="full"'],
    )


def test_server_that_syncs_nothing_and_may_open_little():
    need("prlimit")
    library = next(Path("/usr/lib").rglob("libeatmydata.so*"), None)
    assert library is not None, '"make test" as root installs libeatmydata'
    environment = {"LD_PRELOAD": str(library)}
    with healthy(environment=environment, wrapper=("prlimit", "--nofile=256:256")) as patient:
        found = {finding["key"]: finding for finding in patient.examine()}

    assert "unset-environment LD_PRELOAD" in found["disk.eatmydata"]["mend"]
    assert found["server.descriptors"]["mend"] == "LimitNOFILE=800   # [Service] in lmtpd.service"
    assert set(found) == {"disk.eatmydata", "server.descriptors"}


def test_server_as_root_is_told_so(patient: Patient):
    config = patient.config.read_text()
    patient.config.write_text(config.replace(f'run_as = "{USER}"\n', ""))
    pid = patient.server.state / "ledger.db.server"
    kept = pid.read_text()
    pid.write_text("1\n")  # a process of root's
    try:
        found = {finding["key"]: finding for finding in patient.examine()}
    finally:
        pid.write_text(kept)
        patient.config.write_text(config)

    assert found["server.run_as"]["mend"].startswith('run_as = "vmail"   # [server]')
