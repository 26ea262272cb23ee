"""The process that turns a changed configuration file into SIGHUP, here as a child of the test."""

import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from lmtpd.server import watcher as watcher_module
from lmtpd.server.children import Child, spawn
from lmtpd.server.watcher import watch_config
from tests.support.children import code_of
from tests.support.polling import Overdue, wait_for


@pytest.fixture
def file(tmp_path):
    file = tmp_path / "lmtpd.toml"
    file.write_text("one")
    return file


@pytest.fixture
def hangups(monkeypatch) -> Iterator[list[int]]:
    """SIGHUPs that this process got."""
    monkeypatch.setattr(watcher_module, "QUIET_S", 0.05)
    got: list[int] = []
    before = signal.signal(signal.SIGHUP, lambda number, _: got.append(number))
    yield got
    signal.signal(signal.SIGHUP, before)


@pytest.fixture
def watching(file, hangups) -> Iterator[Child]:
    supervisor = os.getpid()

    def watch(control: socket.socket) -> int:
        control.send(b"ready")
        watch_config(file, control, supervisor=supervisor)
        return 0

    child = spawn(watch, inherited=[])
    wait_for(child.hear, "its first word")
    yield child
    child.control.close()
    assert code_of(child) == 0  # it ends with the supervisor


def changes(file: Path, hangups: list[int], text: str) -> None:
    """Write until it is noticed: the watch may not have begun when the child spoke."""
    before = len(hangups)

    def write_and_look() -> bool:
        if len(hangups) == before:
            file.write_text(text)
        return len(hangups) > before

    wait_for(write_and_look, "SIGHUP", every_s=0.1)


def test_a_change_is_one_sighup(file, hangups, watching):
    changes(file, hangups, "another")

    changes(file, hangups, "and another")

    assert len(hangups) == 2


def test_a_file_put_in_its_place_is_noticed(file, hangups, watching):
    changes(file, hangups, "another")

    new = file.with_name("lmtpd.toml~")
    new.write_text("by an editor")
    new.rename(file)

    wait_for(lambda: len(hangups) == 2, "SIGHUP")


def test_a_burst_of_writes_is_one_sighup(file, hangups, watching):
    changes(file, hangups, "another")

    with file.open("w") as opened:
        for number in range(200):
            opened.write(f"{number}\n")
            opened.flush()

    wait_for(lambda: len(hangups) == 2, "SIGHUP")
    with pytest.raises(Overdue):
        wait_for(lambda: len(hangups) > 2, "one too many", deadline_s=0.2)


def test_other_files_are_nothing_to_us(file, hangups, watching):
    changes(file, hangups, "another")

    file.with_name("lmtpd.toml.swp").write_text("x")
    file.with_name("other").write_text("x")
    file.read_text()

    with pytest.raises(Overdue):
        wait_for(lambda: len(hangups) > 1, "one too many", deadline_s=0.2)


def test_a_file_that_is_away_for_a_moment_is_no_change(file, hangups, watching):
    changes(file, hangups, "another")

    file.rename(file.with_name("aside"))
    with pytest.raises(Overdue):
        wait_for(lambda: len(hangups) > 1, "one too many", deadline_s=0.2)
    file.with_name("aside").rename(file)

    with pytest.raises(Overdue):
        wait_for(lambda: len(hangups) > 1, "one too many", deadline_s=0.2)


def test_a_change_without_a_notice_is_found(tmp_path, hangups, monkeypatch):
    """As behind a link, whose target lies in another directory."""
    monkeypatch.setattr(watcher_module, "LOOK_S", 0.05)
    (tmp_path / "elsewhere").mkdir()
    target = tmp_path / "elsewhere" / "real.toml"
    target.write_text("one")
    link = tmp_path / "lmtpd.toml"
    link.symlink_to(target)
    supervisor = os.getpid()

    def watch(control: socket.socket) -> int:
        watch_config(link, control, supervisor=supervisor)
        return 0

    child = spawn(watch, inherited=[])
    changes(target, hangups, "another")

    child.control.close()
    assert code_of(child) == 0
