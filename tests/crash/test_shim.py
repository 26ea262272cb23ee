# Long because every call that the shim sees is shown to be seen.
"""The shim counts, records and acts as it says, over threads and forks."""

import ctypes
import errno
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.crash import shim as shim_module
from tests.crash.mounts import mounted
from tests.crash.shim import Action, Call, Flush, Kind, Shim
from tests.support.polling import wait_for

pytestmark = pytest.mark.crash

PREAMBLE = """\
import os, socket, sys, threading
def create(name, data=b""):
    fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    if data:
        os.write(fd, data)
    os.fsync(fd)
    os.close(fd)
"""


class Subject:
    """Runs small programs in a folder that the shim watches."""

    def __init__(self, shim: Shim, folder: Path) -> None:
        self.shim = shim
        self.folder = folder
        shim.watch(folder)

    def start(self, program: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-S", "-c", PREAMBLE + program],
            cwd=self.folder,
            env={**os.environ, **self.shim.environment},
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(self, program: str) -> tuple[int, str]:
        with self.start(program) as process:
            output, _ = process.communicate(timeout=20)
            return process.returncode, output.strip()

    def names(self) -> list[str]:
        return sorted(path.name for path in self.folder.iterdir())

    def kinds(self) -> list[Kind]:
        return [call.kind for call in self.shim.calls()]


@pytest.fixture
def subject(tmp_path: Path) -> Iterator[Subject]:
    with Shim() as shim:
        yield Subject(shim, tmp_path)


def test_both_sides_mean_the_same_layout():
    library = ctypes.CDLL(str(shim_module.library()))

    assert ctypes.c_uint64.in_dll(library, "crash_control_octets").value == shim_module.CONTROL_OCTETS
    assert ctypes.c_uint64.in_dll(library, "crash_call_octets").value == shim_module.CALL_OCTETS


def test_calls_are_recorded_in_order_with_paths_and_results(subject):
    subject.shim.arm()

    subject.run(
        "create('a', b'12345'); os.rename('a', 'b'); os.unlink('b'); os.mkdir('d')\n"
        "try: os.rmdir('x')\nexcept OSError: pass"
    )

    calls = subject.shim.calls()
    a, b, x = (str(subject.folder / name) for name in "abx")
    assert [(call.kind, call.path) for call in calls[:6]] == [
        *((kind, a) for kind in (Kind.OPEN, Kind.WRITE, Kind.FSYNC, Kind.CLOSE, Kind.RENAME)),
        (Kind.UNLINK, b),
    ]
    assert calls[1].result == calls[1].octets == 5
    assert calls[4].other == b.encode()
    assert (calls[-1].kind, calls[-1].path, calls[-1].error) == (Kind.RMDIR, x, errno.ENOENT)
    assert [call.number for call in calls] == list(range(1, subject.shim.count + 1))
    assert all(call.end is not None and call.begin < call.end for call in calls)


def test_names_relative_to_an_open_directory_are_resolved(subject):
    (subject.folder / "sub").mkdir()
    subject.shim.arm()

    subject.run(
        "d = os.open('sub', os.O_RDONLY); os.close(os.open('f', os.O_CREAT, dir_fd=d))\n"
        "os.link('f', 'g', src_dir_fd=d, dst_dir_fd=d)"
    )

    link = next(call for call in subject.shim.calls() if call.kind is Kind.LINK)
    assert link.path == str(subject.folder / "sub" / "f")
    assert link.other == str(subject.folder / "sub" / "g").encode()


def test_nothing_is_seen_before_arming_behind_disarming_or_elsewhere(subject, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")

    subject.run("create('a')")
    subject.shim.arm()
    subject.run(f"create({str(elsewhere / 'a')!r})")
    subject.shim.disarm()
    subject.run("create('b')")

    assert subject.shim.count == 0
    assert subject.shim.calls() == []


def test_ignored_paths_are_not_seen(subject):
    subject.shim.watch(subject.folder, ignoring=["history"])
    subject.shim.arm()

    subject.run("create('history.db'); create('ledger.db')")

    assert {Path(call.path).name for call in subject.shim.calls()} == {"ledger.db"}


def test_other_programs_are_not_seen(tmp_path):
    with Shim(program="virtual") as shim:
        subject = Subject(shim, tmp_path)
        shim.arm()

        subject.run("create('a')")

        assert shim.count == 0


def test_count_goes_on_over_forks_and_threads(subject):
    subject.shim.arm()

    subject.run(
        "create('a')\n"
        "if os.fork() == 0:\n    create('b'); os._exit(0)\n"
        "os.wait()\n"
        "thread = threading.Thread(target=create, args=('c',)); thread.start(); thread.join()"
    )

    calls = subject.shim.calls()
    assert [Path(call.path).name for call in calls if call.kind is Kind.FSYNC] == ["a", "b", "c"]
    assert sorted(call.number for call in calls) == list(range(1, 10))
    assert len({call.pid for call in calls}) == 2
    assert len({call.tid for call in calls}) == 3


def test_sends_to_clients_are_seen_with_their_bytes_and_no_others(subject):
    subject.shim.arm()

    subject.run(
        "listener = socket.socket(socket.AF_UNIX); listener.bind('socket'); listener.listen()\n"
        "client = socket.socket(socket.AF_UNIX); client.connect('socket'); client.send(b'MAIL')\n"
        "served, _ = listener.accept()\n"
        "served.send(b'250 sent'); os.write(served.fileno(), b'250 written')\n"
        "served.sendmsg([b'250 in ', b'parts'])\n"
        "a, b = socket.socketpair(); a.send(b'between kin')\n"
        "c, d = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM); c.send(b'no stream')\n"
    )

    assert [call.other for call in subject.shim.calls()] == [b"250 sent", b"250 written", b"250 in "]
    assert set(subject.kinds()) == {Kind.SEND}


def test_sends_to_tcp_clients_are_seen(subject):
    subject.shim.arm()

    subject.run(
        "listener = socket.create_server(('127.0.0.1', 0))\n"
        "client = socket.create_connection(listener.getsockname())\n"
        "served, _ = listener.accept(); served.sendall(b'220 hello')"
    )

    assert [call.other for call in subject.shim.calls()] == [b"220 hello"]


@pytest.mark.parametrize(
    "at, names", [(1, []), (2, ["a"]), (3, ["a"]), (4, ["a"]), (5, ["a"]), (6, ["a", "b"]), (9, ["a", "b"])]
)
def test_kill_comes_just_before_the_call(subject, at, names):
    subject.shim.arm(Action.KILL, at)

    code, _ = subject.run("create('a', b'1'); create('b', b'2')")

    assert (code, subject.names()) == (0 if at > 8 else -signal.SIGKILL, names)
    assert (subject.shim.fired is None) == (at > 8)


def test_kill_after_the_call_finds_it_done(subject):
    subject.shim.arm(Action.KILL, 1, kinds={Kind.OPEN}, after=True)

    code, _ = subject.run("create('a')")

    assert (code, subject.names()) == (-signal.SIGKILL, ["a"])


def test_kill_takes_the_whole_group(subject):
    subject.shim.arm(Action.KILL, 1)

    code, _ = subject.run("if os.fork() == 0:\n    create('a')\nos.wait()\nprint('survived')")

    assert code == -signal.SIGKILL


def test_the_call_that_was_acted_on_is_named(subject):
    subject.shim.arm(Action.KILL, 3)

    subject.run("create('a', b'1')")

    fired = subject.shim.fired
    assert fired is not None
    assert (fired.kind, fired.end) == (Kind.FSYNC, None)
    assert str(fired) == f"call 3: fsync {subject.folder}/a"


TRY = "try: create({!r}); print('done')\nexcept OSError as exc: print(exc.errno)\n"


def test_error_once_is_returned_and_the_call_not_done(subject):
    subject.shim.arm(Action.FAIL, 1, error=errno.ENOSPC, kinds={Kind.OPEN})

    _, output = subject.run(TRY.format("a") + TRY.format("b"))

    assert output.split() == [str(errno.ENOSPC), "done"]
    assert subject.names() == ["b"]


def test_error_from_then_on_is_returned_each_time(subject):
    subject.shim.arm(Action.FAIL, 2, error=errno.EIO, kinds={Kind.FSYNC}, forever=True)

    _, output = subject.run(TRY.format("a") + TRY.format("b") + TRY.format("c"))

    assert output.split() == ["done", str(errno.EIO), str(errno.EIO)]


def test_failing_close_frees_the_descriptor_all_the_same(subject):
    subject.shim.arm(Action.FAIL, 1, error=errno.EIO, kinds={Kind.CLOSE})

    _, output = subject.run(
        "fd = os.open('a', os.O_CREAT)\n"
        "try: os.close(fd)\nexcept OSError as exc: print(exc.errno)\n"
        "try: os.fstat(fd)\nexcept OSError as exc: print(exc.errno)"
    )

    assert output.split() == [str(errno.EIO), str(errno.EBADF)]


def test_a_lock_of_a_part_of_a_file_fails_when_it_is_asked_for(subject):
    lock = "import fcntl\nwith open('a', 'w') as file:\n for _ in range(2):\n"
    lock += "  try: fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB); print('done')\n"
    lock += "  except OSError as exc: print(exc.errno)\n"
    subject.shim.arm(Action.FAIL, 2, error=errno.ENOLCK, kinds={Kind.LOCK})

    _, output = subject.run(lock)

    assert output.split() == ["done", str(errno.ENOLCK)]
    subject.shim.arm()
    subject.run(lock)
    assert Kind.LOCK not in subject.kinds()


def test_only_calls_on_that_path_are_counted(subject):
    subject.shim.arm(Action.FAIL, 1, error=errno.EIO, kinds={Kind.FSYNC}, only="/b$")

    _, output = subject.run(TRY.format("a") + TRY.format("bb") + TRY.format("b"))

    assert output.split() == ["done", "done", str(errno.EIO)]
    assert subject.shim.count == 1


def test_short_write_is_a_real_one(subject):
    subject.shim.arm(Action.SHORT, 1, kinds={Kind.WRITE})

    _, output = subject.run("fd = os.open('a', os.O_CREAT | os.O_WRONLY); print(os.write(fd, bytes(1000)))")

    assert output == "500"
    assert (subject.folder / "a").stat().st_size == 500


@pytest.mark.parametrize("after, names", [(False, ["a"]), (True, ["b"])])
def test_stopped_process_waits_before_or_after_the_call(subject, after, names):
    subject.shim.arm(Action.STOP, 1, kinds={Kind.RENAME}, after=after)

    with subject.start("create('a'); os.rename('a', 'b'); print('done')") as process:
        wait_for(lambda: is_stopped(process.pid), "the stop")
        seen = subject.names()
        process.send_signal(signal.SIGCONT)
        output, _ = process.communicate(timeout=20)

    assert (seen, output.strip(), subject.names()) == (names, "done", ["b"])


def test_pretended_call_is_not_done_armed_or_not(subject):
    subject.shim.pretend(({Kind.UNLINK, Kind.FSYNC}, "/a"))

    code, _ = subject.run("create('a'); os.unlink('a'); create('b'); os.unlink('b')")

    assert (code, subject.names()) == (0, ["a"])


def test_frozen_processes_wait(subject):
    subject.shim.freeze()

    with subject.start("create('a')") as process:
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.2)
        process.kill()

    assert subject.names() == []


def test_renameat2_through_ctypes_is_seen(subject):
    """The storage calls it so, since the standard library does not."""
    subject.shim.arm()

    subject.run("import ctypes; create('a')\nctypes.CDLL(None).renameat2(-100, b'a', -100, b'b', 1)")

    assert subject.kinds()[-1] is Kind.RENAME
    assert subject.names() == ["b"]


def is_stopped(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


def test_description_of_a_call_says_what_went_wrong():
    call = Call(Kind.WRITE, 7, 1, 2, -1, errno.EIO, 1, 1, 3, 0, 10, "/x", b"")

    assert str(call) == "call 7: write /x (10 octets) = EIO"


def test_power_is_cut_by_a_process_that_acts_as_somebody_else():
    """Dovecot and virtual(8) write with their recipient's rights, which do not allow it."""
    with mounted("ext4") as (disk,), Shim() as shim:
        disk.path.chmod(0o777)
        subject = Subject(shim, disk.path)
        shim.powered_by([(disk.path, Flush.NOTHING)])
        shim.arm(Action.CUT, 1)

        code, _ = subject.run("os.seteuid(65534); create('a')")

        assert code == -signal.SIGKILL
        assert shim.fired is not None
        with pytest.raises(OSError):
            (disk.path / "late").touch()


def test_power_cut_that_did_not_happen_is_no_quiet_success():
    with mounted("ext4") as (disk,), Shim() as shim:
        disk.path.chmod(0o777)
        subject = Subject(shim, disk.path)
        shim.powered_by([(disk.path, Flush.NOTHING)])
        shim.arm(Action.CUT, 1)

        subject.run("os.setresuid(65534, 65534, 65534); create('a')")

        with pytest.raises(AssertionError, match="no power cut"):
            _ = shim.fired
