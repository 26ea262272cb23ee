import os
import signal
import stat

import pytest

from storage.server_lock import ServerLock, ServerRunning


def test_lock_is_taken_and_names_the_process(tmp_path):
    path = tmp_path / "server.lock"

    with ServerLock(path):
        assert path.read_text() == f"{os.getpid()}\n"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_second_server_is_told_who_runs(tmp_path):
    path = tmp_path / "server.lock"

    with ServerLock(path), pytest.raises(ServerRunning) as caught:
        ServerLock(path)

    assert caught.value.pid == os.getpid()
    assert str(caught.value) == f"{path} is held by a running server, process {os.getpid()}"


def test_lock_without_a_readable_id_is_held_all_the_same(tmp_path):
    path = tmp_path / "server.lock"

    with ServerLock(path):
        path.write_text("?")
        with pytest.raises(ServerRunning) as caught:
            ServerLock(path)

    assert caught.value.pid is None
    assert str(caught.value) == f"{path} is held by a running server"


def test_closed_lock_can_be_taken_again_and_names_only_the_new_holder(tmp_path):
    path = tmp_path / "server.lock"
    path.write_text("123456789 and more\n")

    ServerLock(path).close()
    with ServerLock(path):
        assert path.read_text() == f"{os.getpid()}\n"


def test_refused_server_leaves_no_descriptor_open(tmp_path):
    with ServerLock(tmp_path / "server.lock"):
        before = len(os.listdir("/proc/self/fd"))
        with pytest.raises(ServerRunning):
            ServerLock(tmp_path / "server.lock")
        assert len(os.listdir("/proc/self/fd")) == before


def test_lock_stays_while_a_forked_worker_lives(tmp_path):
    path = tmp_path / "server.lock"
    lock = ServerLock(path)
    pid = os.fork()
    if pid == 0:
        signal.pause()

    try:
        lock.close()
        with pytest.raises(ServerRunning):
            ServerLock(path)
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    ServerLock(path).close()


def test_lock_that_cannot_be_made_is_an_oserror(tmp_path):
    with pytest.raises(FileNotFoundError):
        ServerLock(tmp_path / "missing" / "server.lock")
