import ctypes
import os
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from storage.owners import Owner, is_alive

BOOT = "0123abcd-0000-4000-8000-000000000000\n"
NOBODY = 65534
SYS_EXIT = {"x86_64": 60, "aarch64": 93}.get(os.uname().machine)


def proc_with(path: Path, *, pid: int, state: str = "S", threads: int = 1, ticks: int = 77) -> str:
    """Make a process file system that shows one process, by proc(5)."""
    (path / "sys/kernel/random").mkdir(parents=True)
    (path / "sys/kernel/random/boot_id").write_text(BOOT)
    (path / str(pid)).mkdir()
    fields = [state, *["0"] * 16, str(threads), "0", str(ticks), "0"]
    (path / str(pid) / "stat").write_text(f"{pid} (a) b (c) {' '.join(fields)}\n")
    return str(path)


def in_child(work) -> int:
    """Run work in a forked process; return what it returns, a small number."""
    pid = os.fork()
    if pid == 0:
        status = 255
        try:
            status = work()
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_this_process_is_alive():
    assert is_alive(str(Owner.of_this_process()))


def test_every_owner_has_a_token_of_its_own():
    one, other = Owner.of_this_process(), Owner.of_this_process()

    assert one.token != other.token
    assert replace(one, token="") == replace(other, token="")


def test_text_names_token_process_start_and_boot(tmp_path):
    proc = proc_with(tmp_path, pid=os.getpid(), ticks=4711)

    owner = Owner.of_this_process(proc=proc)

    assert str(owner) == f"{owner.token}.{os.getpid()}.4711.0123abcd"
    assert len(owner.token) == 16
    assert is_alive(str(owner), proc=proc)


def test_process_that_ended_is_dead():
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)

    assert not is_alive(str(replace(Owner.of_this_process(), pid=pid)))


def test_killed_process_is_dead_before_its_parent_has_noticed():
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        ticks = int(Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()[19])
        text = str(replace(Owner.of_this_process(), pid=child.pid, start_ticks=ticks))
        assert is_alive(text)

        child.kill()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)

        assert not is_alive(text)


@pytest.mark.skipif(SYS_EXIT is None, reason="the number of exit(2) is not known for this machine")
def test_process_whose_first_thread_ended_lives_while_another_works():
    read, write = os.pipe()

    def end_first_thread() -> int:
        threading.Thread(target=lambda: os.read(read, 1) and os._exit(0)).start()
        ctypes.CDLL(None).syscall(SYS_EXIT, 0)
        return 1

    pid = os.fork()
    if pid == 0:
        os._exit(end_first_thread())
    stat = Path(f"/proc/{pid}/stat")
    while (fields := stat.read_text().rpartition(")")[2].split())[0] != "Z":
        os.sched_yield()

    alive = is_alive(str(replace(Owner.of_this_process(), pid=pid, start_ticks=int(fields[19]))))

    os.write(write, b"x")
    os.waitpid(pid, 0)
    os.close(read)
    os.close(write)
    assert alive


@pytest.mark.parametrize(
    "state, threads, alive",
    [("S", 1, True), ("D", 3, True), ("T", 1, True), ("Z", 2, True), ("Z", 1, False), ("X", 1, False)],
)
def test_only_what_can_still_act_is_alive(tmp_path, state, threads, alive):
    proc = proc_with(tmp_path, pid=42, state=state, threads=threads)

    assert is_alive("0123456789abcdef.42.77.0123abcd", proc=proc) is alive


@pytest.mark.parametrize(
    "text",
    [
        "0123456789abcdef.42.78.0123abcd",  # the id is used again
        "0123456789abcdef.42.77.ffffffff",  # an earlier boot
        "0123456789abcdef.42.77",
        "0123456789ABCDEF.42.77.0123abcd",
        "0123456789abcdef.0.77.0123abcd",
        "0123456789abcdef.-1.77.0123abcd",
        "0123456789abcdef.42.77.0123abcd\n",
        "",
    ],
)
def test_other_texts_are_dead(tmp_path, text):
    proc = proc_with(tmp_path, pid=42)

    assert not is_alive(text, proc=proc)


def test_living_process_that_proc_hides_is_alive(tmp_path):
    proc = proc_with(tmp_path, pid=1)
    text = f"0123456789abcdef.{os.getpid()}.77.0123abcd"

    assert is_alive(text, proc=proc)


@pytest.mark.skipif(os.getuid() != 0, reason="needs root to become another user")
def test_process_of_another_user_that_proc_hides_is_alive(tmp_path):
    proc = proc_with(tmp_path, pid=1)
    tmp_path.chmod(0o755)
    text = f"0123456789abcdef.{os.getpid()}.77.0123abcd"

    def ask_as_nobody() -> int:
        boot = f"{proc}/sys/kernel/random/boot_id"
        os.chdir(proc)
        assert os.path.exists(boot)
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
        return int(is_alive(text, proc="."))

    assert in_child(ask_as_nobody) == 1


def test_unreadable_boot_is_an_error_and_no_verdict(tmp_path):
    with pytest.raises(FileNotFoundError):
        is_alive("0123456789abcdef.42.77.0123abcd", proc=str(tmp_path))
