"""Somebody else's rights for one thread and for a moment, and the way back."""

import os
import signal
import subprocess
import sys
import threading

import pytest

from storage import thread_rights
from storage.thread_rights import Held, Rights, RightsUnavailable, probe
from tests.support.postfix import public_folder
from tests.support.requirements import ROOT, need

RIGHTS = Rights(71001, 71002)
WITH_GROUPS = Rights(71001, 71002, (8, 71003))


@pytest.fixture(autouse=True)
def root():
    need("root")
    before = who()
    yield
    assert who() == before


def who() -> tuple[tuple[int, ...], tuple[int, ...], list[int], str]:
    handle = os.open("/proc/thread-self/status", os.O_RDONLY)
    lines = os.read(handle, 1 << 16).splitlines()
    os.close(handle)
    (capabilities,) = [line.split()[1] for line in lines if line.startswith(b"CapEff:")]
    return os.getresuid(), os.getresgid(), sorted(os.getgroups()), capabilities.decode()


@pytest.mark.parametrize("rights", [RIGHTS, WITH_GROUPS], ids=["alone", "with groups"])
def test_only_the_effective_ids_change_and_no_capability_is_left(rights: Rights):
    with Held(rights):
        taken = who()

    assert taken == ((0, 71001, 0), (0, 71002, 0), sorted(rights.groups), "0" * 16)


def test_a_file_belongs_to_who_the_thread_was():
    with public_folder("rights") as folder:
        folder.chmod(0o777)

        with Held(RIGHTS):
            os.close(os.open(folder / "f", os.O_WRONLY | os.O_CREAT, 0o600))

        status = (folder / "f").stat()
        assert (status.st_uid, status.st_gid) == (71001, 71002)


def test_what_is_roots_cannot_be_read():
    with Held(RIGHTS), pytest.raises(PermissionError):
        os.open("/etc/shadow", os.O_RDONLY)

    os.close(os.open("/etc/shadow", os.O_RDONLY))


def test_other_threads_keep_their_own():
    inside, done = threading.Barrier(3), threading.Barrier(3)
    seen: dict[int, tuple[object, ...]] = {}

    def act(uid: int) -> None:
        with Held(Rights(uid, uid)):
            inside.wait(10)
            seen[uid] = (os.geteuid(), os.getegid())
            done.wait(10)

    threads = [threading.Thread(target=act, args=(uid,)) for uid in (71001, 71002)]
    for thread in threads:
        thread.start()
    inside.wait(10)
    mine = os.geteuid()
    done.wait(10)
    for thread in threads:
        thread.join()

    assert seen == {71001: (71001, 71001), 71002: (71002, 71002)}
    assert mine == 0


def test_an_exception_leads_back():
    with pytest.raises(KeyError), Held(RIGHTS):
        raise KeyError

    assert os.geteuid() == 0


@pytest.mark.parametrize("uid, gid", [(0, 1), (1, 0)])
def test_roots_rights_are_nobodys(uid: int, gid: int):
    with pytest.raises(ValueError, match="root's"):
        Rights(uid, gid)


def test_rights_name_themselves():
    assert str(WITH_GROUPS) == "uid 71001, gid 71002, group 8, group 71003"


def test_who_may_not_act_as_others_gets_no_further_than_the_door():
    with Held(RIGHTS):
        held = Held(Rights(71005, 71005))
        with pytest.raises(OSError), held:
            pytest.fail("inside")
        assert os.geteuid() == 71001


def test_a_thread_that_cannot_come_back_ends_the_process():
    script = """
import os
from storage.thread_rights import Held, Rights
with Held(Rights(71001, 71001)):
    os.setresuid(71001, 71001, 71001)
print("went on")
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, check=False)

    assert done.returncode == -signal.SIGABRT
    assert done.stdout == b""


@pytest.mark.parametrize("rights", [RIGHTS, WITH_GROUPS], ids=["alone", "with groups"])
def test_a_probe_finds_nothing_wrong(rights: Rights):
    probe(rights)


def test_a_probe_notices_what_is_kept(monkeypatch: pytest.MonkeyPatch):
    status = thread_rights._status
    monkeypatch.setattr(thread_rights, "_status", lambda: {**status(), "CapEff": [1 << 24]})

    with pytest.raises(RightsUnavailable, match="keeps other rights"):
        probe(RIGHTS)


def test_a_probe_tells_who_refuses():
    with Held(RIGHTS), pytest.raises(RightsUnavailable, match="is refused: Operation not permitted"):
        probe(Rights(71005, 71005))


def test_an_unknown_machine_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("platform.machine", lambda: "pdp11")

    with pytest.raises(RightsUnavailable, match="not known for pdp11; known are x86_64, "):
        Held(RIGHTS)
