"""From `[limits]` to what recipients are answered, and what `explain` tells of it."""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from lmtpd.__main__ import main
from lmtpd.cli.directory import build_directory
from lmtpd.cli.limits import build_admission
from lmtpd.config import Config, Override, load
from lmtpd.delivery.admission import Admission
from lmtpd.delivery.breaker import Fault
from lmtpd.delivery.peer import Peer
from lmtpd.protocol.addresses import Address
from lmtpd.recipients.mailbox import Mailbox
from lmtpd.report.records import Level
from lmtpd.report.reporter import Reporter
from storage.disk import Disk
from tests.support.configs import setting
from tests.support.services import ENVELOPE, A, offered

ALL_OFF = ("mailbox_concurrency=0", "file_system_faults=0")


class Events(Reporter):
    """A reporter that keeps its events."""

    def __init__(self) -> None:
        super().__init__()
        self.events: list[tuple[Level, str, dict[str, object]]] = []

    def event(self, level: Level, name: str, **fields: object) -> None:
        self.events.append((level, name, fields))


def configuration(root: Path, *limits: str) -> Config:
    flags = [Override("--mailboxes", f"{root}/{{domain}}/{{user}}"), Override("--create", "true")]
    return load(None, [*flags, *(setting(f"limits.{each}") for each in limits)])


def build(root: Path, *limits: str, reporter: Reporter | None = None) -> Admission | None:
    config = configuration(root, *limits)
    return build_admission(
        config, build_directory(config, Disk()), None, disk=Disk(), reporter=reporter or Reporter()
    )


def answers(admission: Admission | None, count: int) -> Sequence[str]:
    assert admission is not None
    peer = Peer("tcp", address="192.0.2.1", port=1)
    return [admission.answer(offered(A), ENVELOPE, peer).cause for _ in range(count)]


def test_without_limits_there_is_nothing_to_ask(tmp_path):
    assert build(tmp_path, *ALL_OFF) is None


@pytest.mark.parametrize("name", ["sender", "client", "domain"])
def test_each_rate_is_that_of_its_key(tmp_path, name):
    admission = build(tmp_path, *ALL_OFF, f"{name}_recipients_per_minute=2")

    assert answers(admission, 3) == ["", "", f"{name}_rate"]


@pytest.mark.parametrize("limit", [f"free_octets={2**60}", "free_percent=99", f"free_inodes={2**60}"])
def test_each_floor_is_that_of_its_key(tmp_path, limit):
    assert answers(build(tmp_path, *ALL_OFF, limit), 1) == ["free_space"]


def test_limits_that_are_on_by_default_let_mail_through(tmp_path):
    assert answers(build(tmp_path), 100) == [""] * 100


def test_a_root_that_is_missing_does_not_hinder_the_start(tmp_path):
    assert build(tmp_path / "missing") is not None


def test_a_file_system_left_alone_is_an_alarm_and_its_end_a_notice(tmp_path):
    reporter = Events()
    admission = build(tmp_path, "file_system_faults=1", reporter=reporter)
    assert admission is not None
    breaker = admission._breaker
    assert breaker is not None
    device = os.stat(tmp_path).st_dev

    breaker.failed(device, Fault("[Errno 5] Input/output error", is_full=False))
    refused = answers(admission, 1)
    breaker.worked(device)

    name = f"{os.major(device)}:{os.minor(device)}"
    fields = {"device": name, "error": "[Errno 5] Input/output error", "pause_s": 30}
    assert refused == ["file_system"]
    assert reporter.events == [
        (Level.ALERT, "file_system_left_alone", fields),
        (Level.NOTICE, "file_system_in_use_again", {"device": name}),
    ]


def test_the_mailboxes_on_a_worker_share_the_limits(tmp_path):
    admission = build(tmp_path)
    assert admission is not None
    directory = admission._directory
    mailbox = directory.find(Address("a", "example.org"))
    assert isinstance(mailbox, Mailbox)

    assert admission.at_work_in(mailbox) is admission.at_work_in(replace(mailbox, folder="Lists"))


# ---- explain -----------------------------------------------------------------------------------


def explain(root: Path, capsys: pytest.CaptureFixture[str], *limits: str) -> list[str]:
    (root / "example.org/a").mkdir(parents=True, exist_ok=True)
    settings = [part for each in limits for part in ("--set", f"limits.{each}")]
    main(["explain", A, "--mailboxes", f"{root}/{{domain}}/{{user}}", *settings])
    return [line for line in capsys.readouterr().out.splitlines() if line.startswith("limit: ")]


def test_explain_tells_the_limits_that_are_on(tmp_path, capsys):
    assert explain(tmp_path, capsys) == [
        "limit: mailbox           451 4.2.1 while 10 deliveries of a worker are at work in it, one for 2 s",
        "limit: file system       451 4.3.0 or 452 4.3.1 for 30 s after 10 faults in a row",
    ]


def test_explain_tells_no_limit_that_is_off(tmp_path, capsys):
    assert explain(tmp_path, capsys, *ALL_OFF) == []


def test_explain_tells_the_rates(tmp_path, capsys):
    rates = [f"{name}_recipients_per_minute=7" for name in ("sender", "client", "domain")]

    assert explain(tmp_path, capsys, *ALL_OFF, *rates) == [
        "limit: sender rate       7 recipients a minute and worker, by the envelope sender",
        "limit: client rate       7 recipients a minute and worker, by the client's address",
        "limit: domain rate       7 recipients a minute and worker, by the recipient's domain",
    ]


@pytest.mark.parametrize(
    "limit, told",
    [("free_percent=99", r"452 4.3.1: "), ("free_octets=1", "enough: "), ("free_inodes=1", "enough: ")],
)
def test_explain_looks_whether_there_is_room(tmp_path, capsys, limit, told):
    (line,) = explain(tmp_path, capsys, *ALL_OFF, limit)

    assert line.startswith(f"limit: free space        {told}")


@pytest.mark.parametrize(
    "limit, size, code", [("free_percent=99", 0, 75), ("free_octets=1", 0, 0), ("free_octets=1", 2**50, 75)]
)
def test_explain_answers_as_rcpt_would(tmp_path, capsys, limit, size, code):
    (tmp_path / "example.org/a").mkdir(parents=True)
    flags = [
        "--mailboxes",
        f"{tmp_path}/{{domain}}/{{user}}",
        "--set",
        f"limits.{limit}",
        "--size",
        str(size),
    ]

    assert main(["explain", A, *flags]) == code

    assert ("reply                    452 4.3.1" in capsys.readouterr().out) is (code == os.EX_TEMPFAIL)
