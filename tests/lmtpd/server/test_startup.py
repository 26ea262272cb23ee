"""State directory, user and lock of a server that starts."""

import os
import pwd
import shutil
import tempfile
import time
from pathlib import Path

import pytest

from lmtpd.config import Config
from lmtpd.server import startup as startup_module
from lmtpd.server.children import spawn
from lmtpd.server.errors import CannotStart
from lmtpd.server.startup import become_server
from storage.server_lock import ServerLock
from tests.support.children import code_of

ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


def config(state: Path, **server: object) -> Config:
    return Config.model_validate({"hostname": "mx.example.org", "state": str(state), "server": server})


def failure(wanted: Config) -> CannotStart:
    with pytest.raises(CannotStart) as caught:
        become_server(wanted)
    assert "\n" not in str(caught.value)
    return caught.value


def test_the_state_directory_is_made_and_private(tmp_path):
    state = tmp_path / "lib" / "lmtpd"

    with become_server(config(state)):
        assert state.stat().st_mode & 0o777 == 0o700


def test_an_existing_state_directory_is_used_as_it_is(tmp_path):
    tmp_path.chmod(0o750)

    with become_server(config(tmp_path)):
        assert tmp_path.stat().st_mode & 0o777 == 0o750


def test_a_second_server_is_refused(tmp_path):
    with become_server(config(tmp_path)):
        error = failure(config(tmp_path))

    assert str(os.getpid()) in str(error)
    assert error.code == os.EX_UNAVAILABLE


def test_another_state_is_another_server(tmp_path):
    with become_server(config(tmp_path / "one")), become_server(config(tmp_path / "two")):
        pass


def test_the_workers_of_a_killed_server_are_waited_for(tmp_path, monkeypatch):
    monkeypatch.setattr(startup_module, "LOCK_PAUSE_S", 0.01)
    lock_file = tmp_path / "ledger.db.server"
    lock = ServerLock(lock_file)
    worker = spawn(lambda control: len(control.recv(10)), inherited=[])  # holds the lock, too
    lock.close()
    dead = spawn(lambda control: 0, inherited=[])
    code_of(dead)
    lock_file.write_text(f"{dead.pid}\n")
    waits = []

    def pause(seconds):
        waits.append(seconds)
        worker.control.close()

    monkeypatch.setattr(time, "sleep", pause)

    with become_server(config(tmp_path)):
        assert waits

    code_of(worker)


def test_but_not_for_ever(tmp_path, monkeypatch):
    monkeypatch.setattr(startup_module, "LOCK_WAIT_S", 0.02)
    monkeypatch.setattr(startup_module, "LOCK_PAUSE_S", 0.01)
    with ServerLock(tmp_path / "ledger.db.server"):
        (tmp_path / "ledger.db.server").write_text("999999999\n")

        assert failure(config(tmp_path)).code == os.EX_UNAVAILABLE


def test_a_state_that_cannot_be_a_directory_is_named(tmp_path):
    (tmp_path / "file").touch()

    error = failure(config(tmp_path / "file" / "state"))

    assert str(tmp_path / "file") in str(error)
    assert error.code == os.EX_CANTCREAT


def test_a_state_that_cannot_be_made_is_named_in_full():
    error = failure(config(Path("/proc/self/lmtpd")))

    assert str(error).startswith("/proc/self/lmtpd: ")
    assert error.code == os.EX_CANTCREAT


def test_a_lock_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "ledger.db.server").mkdir()

    error = failure(config(tmp_path))

    assert "ledger.db.server" in str(error)
    assert error.code == os.EX_CANTCREAT


def test_a_state_that_cannot_be_written_is_said_so(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda *_: False)

    error = failure(config(tmp_path))

    assert "cannot be written by" in str(error)
    assert error.code == os.EX_CANTCREAT


@ROOT_ONLY
def test_root_becomes_the_configured_user_for_good():
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    state = folder / "state"

    def be_server(control):
        with become_server(config(state, run_as="nobody")):
            nobody = pwd.getpwnam("nobody")
            assert os.getresuid() == (nobody.pw_uid,) * 3
            assert os.getresgid() == (nobody.pw_gid,) * 3
            assert set(os.getgroups()) <= {nobody.pw_gid}
            with pytest.raises(PermissionError):
                os.seteuid(0)
        return 0

    try:
        child = spawn(be_server, inherited=[])

        assert code_of(child) == 0
        assert state.stat().st_uid == pwd.getpwnam("nobody").pw_uid
        assert (state / "ledger.db.server").stat().st_uid == pwd.getpwnam("nobody").pw_uid
    finally:
        shutil.rmtree(folder)


def test_a_user_that_has_gone_is_named(tmp_path, monkeypatch):
    wanted = config(tmp_path, run_as="nobody")

    def forget(name):
        raise KeyError(name)

    monkeypatch.setattr(pwd, "getpwnam", forget)
    monkeypatch.setattr(os, "geteuid", lambda: 0)

    error = failure(wanted)

    assert "nobody" in str(error)
    assert error.code == os.EX_NOUSER


@pytest.mark.parametrize("create", [True, False])
def test_the_mailbox_root_is_made_only_where_mailboxes_are(tmp_path, create):
    mailboxes = {"path": f"{tmp_path}/srv/mail/{{domain}}/{{user}}", "create": create}
    wanted = Config.model_validate({"state": str(tmp_path / "state"), "mailboxes": mailboxes})

    with become_server(wanted):
        assert (tmp_path / "srv/mail").is_dir() == create


def test_a_file_in_the_way_of_the_mailbox_root_is_told(tmp_path):
    (tmp_path / "srv").write_text("")
    mailboxes = {"path": f"{tmp_path}/srv/mail/{{user}}", "create": True}

    error = failure(Config.model_validate({"state": str(tmp_path / "state"), "mailboxes": mailboxes}))

    assert error.code == os.EX_CANTCREAT
    assert str(tmp_path / "srv") in str(error)
