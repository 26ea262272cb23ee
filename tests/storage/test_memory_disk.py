"""The fake disk does what the real one does: the same calls, the same results."""

import errno
import inspect
import os
import shutil
import stat
import tempfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.disk import Disk
from tests.support.memory_disk import MemoryDisk

CALLS = [name for name, _ in inspect.getmembers(Disk, inspect.isfunction) if not name.startswith("_")]

# -- the same script on both


class Script:
    """Plays calls on a disk and notes what came of each; what was opened is called by its number."""

    def __init__(self, disk: Disk, root: str) -> None:
        self.disk = disk
        self.fds = [disk.open_directory(root)]
        self.notes: list[object] = []

    def play(self, call: str, *args: object, at: int = 0, to: int = 0, **kwargs: object) -> None:
        """Call; at and to are numbers of handles."""
        fd, other = self.fds[at % len(self.fds)], self.fds[to % len(self.fds)]
        try:
            self.notes.append(self._note(call, self._call(call, args, kwargs, fd, other)))
        except OSError as exc:
            self.notes.append(errno.errorcode[exc.errno or 0])

    def _call(
        self, call: str, args: tuple[object, ...], kwargs: dict[str, object], fd: int, other: int
    ) -> object:
        function = getattr(self.disk, call)
        match call:
            case "rename_exclusive" | "link":
                return function(*args, src_dir_fd=fd, dst_dir_fd=other)
            case "copy_range":
                return function(fd, other, **kwargs)
            case "sync" | "close" | "status_of" | "list_names" | "write" | "read":
                return function(fd, *args)
            case _:
                return function(*args, dir_fd=fd)

    def _note(self, call: str, result: object) -> object:
        if call in ("open_directory", "open_path", "create", "open_file"):
            assert isinstance(result, int)
            self.fds.append(result)
            return "opened"
        if isinstance(result, os.stat_result):
            return (
                stat.S_IFMT(result.st_mode),
                stat.S_ISDIR(result.st_mode) or result.st_size,
            )
        return sorted(result) if isinstance(result, list) else result

    def close(self) -> None:
        for fd in self.fds:
            try:
                self.disk.close(fd)
            except OSError:
                pass


def compare(steps):
    """Play steps on the real disk and on the fake, and return the notes of both."""
    folder = tempfile.mkdtemp()
    memory = MemoryDisk()
    memory.make("/r")
    scripts = [Script(Disk(), folder), Script(memory, "/r")]
    try:
        for call, args, kwargs in steps:
            for script in scripts:
                script.play(call, *args, **kwargs)
        return [script.notes for script in scripts]
    finally:
        for script in scripts:
            script.close()
        shutil.rmtree(folder)


def step(call, *args, **kwargs):
    return call, args, kwargs


LONG = "é" * 127 + "xx"

SCRIPTS = {
    "a delivery": [
        step("make_directory", "tmp", 0o700),
        step("make_directory", "new", 0o700),
        step("open_directory", "tmp"),
        step("open_directory", "new"),
        step("create", "a", at=1),
        step("write", b"hello", at=3),
        step("sync", at=3),
        step("status_of", at=3),
        step("close", at=3),
        step("rename_exclusive", "a", "b", at=1, to=2),
        step("sync", at=2),
        step("list_names", at=1),
        step("list_names", at=2),
        step("status", "b", at=2),
        step("unlink", "b", at=2),
        step("unlink", "b", at=2),
    ],
    "names that are taken": [
        step("create", "f"),
        step("create", "f"),
        step("make_directory", "f", 0o700),
        step("make_directory", "d", 0o700),
        step("make_directory", "d", 0o700),
        step("create", "d"),
        step("create", "g"),
        step("rename_exclusive", "f", "f"),
        step("rename_exclusive", "f", "g"),
        step("rename_exclusive", "f", "d"),
        step("rename_exclusive", "d", "g"),
        step("rename_exclusive", "none", "g"),
        step("link", "f", "g"),
        step("link", "f", "f"),
        step("link", "none", "h"),
        step("link", "d", "h"),
        step("replace", "f", "g"),
        step("replace", "g", "g"),
        step("replace", "g", "d"),
        step("replace", "none", "d"),
        step("list_names"),
    ],
    "the wrong kind": [
        step("create", "f"),
        step("make_directory", "d", 0o700),
        step("open_directory", "f"),
        step("open_path", "f"),
        step("open_file", "d"),
        step("read", 5, at=2),
        step("write", b"x", at=0),
        step("unlink", "d"),
        step("list_names", at=1),
        step("create", "f/x"),
        step("create", "x", at=1),
        step("rename_exclusive", "f", "f/x"),
        step("open_file", "f"),
        step("write", b"x", at=3),
        step("copy_range", at=0, to=1, offset=0, octets=1),
        step("copy_range", at=1, to=3, offset=0, octets=1),
    ],
    "a file with two names": [
        step("create", "f"),
        step("make_directory", "d", 0o700),
        step("open_directory", "d"),
        step("link", "f", "g", at=0, to=2),
        step("write", b"both", at=1),
        step("open_file", "g", at=2),
        step("read", 9, at=3),
        step("unlink", "f"),
        step("status", "g", at=2),
        step("rename_exclusive", "g", "h", at=2, to=0),
        step("list_names"),
        step("list_names", at=2),
    ],
    "a directory that is only passed": [
        step("make_directory", "d", 0o700),
        step("open_path", "d"),
        step("create", "f", at=1),
        step("status_of", at=1),
        step("sync", at=1),
        step("list_names", at=1),
        step("read", 1, at=1),
        step("open_directory", "../d", at=1),
        step("list_names", at=3),
    ],
    "what is closed": [
        step("create", "f"),
        step("close", at=1),
        *(step(call, at=1) for call in ("close", "sync", "status_of", "list_names")),
        step("write", b"x", at=1),
        step("read", 1, at=1),
        step("create", "g", at=1),
        step("copy_range", at=1, to=1, offset=0, octets=1),
    ],
    "long names": [
        step("create", LONG + "x"),
        step("create", LONG),
        step("status", LONG + "x"),
        step("make_directory", "n" * 256, 0o700),
        step("make_directory", "n" * 255, 0o700),
        step("rename_exclusive", LONG, "m" * 256),
    ],
    "reading, writing, copying": [
        step("create", "f"),
        step("create", "g"),
        step("write", b"0123456789", at=1),
        step("read", 5, at=1),
        step("copy_range", at=1, to=2, offset=3, octets=4),
        step("copy_range", at=1, to=2, offset=8, octets=10),
        step("copy_range", at=1, to=2, offset=10, octets=10),
        step("write", b"", at=2),
        step("write", memoryview(b"tail"), at=2),
        step("open_file", "g"),
        step("read", 8, at=3),
        step("read", 80, at=3),
        step("read", 80, at=3),
    ],
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_the_fake_answers_as_the_disk(name):
    real, memory = compare(SCRIPTS[name])

    assert memory == real


NAMES = st.sampled_from(["a", "b", "d", "d/a", "../b", "none/x"])
PLAIN = st.sampled_from(["a", "b", "c", "d"])
AT = st.integers(0, 6)
STEPS = st.one_of(
    *(
        st.builds(step, st.just(call), NAMES, at=AT)
        for call in ("open_directory", "open_path", "create", "open_file", "unlink", "status")
    ),
    st.builds(step, st.just("make_directory"), PLAIN, st.just(0o700), at=AT),
    st.builds(step, st.just("rename_exclusive"), PLAIN, PLAIN, at=AT, to=AT),
    st.builds(step, st.just("link"), PLAIN, PLAIN, at=AT, to=AT),
    st.builds(step, st.just("write"), st.sampled_from([b"", b"x", b"hello"]), at=AT),
    st.builds(step, st.just("read"), st.integers(1, 9), at=AT),
    *(st.builds(step, st.just(call), at=AT) for call in ("sync", "close", "status_of", "list_names")),
    st.builds(
        step,
        st.just("copy_range"),
        at=AT,
        to=AT,
        offset=st.integers(0, 9),
        octets=st.integers(1, 9),
    ),
)


@given(steps=st.lists(STEPS, max_size=25))
def test_any_script_has_the_same_results(steps):
    # The names of both roots differ, and a real descriptor that was closed is soon another file's.
    steps = [step for step in steps if step[0] != "close" and not _leaves_the_root(step)]
    steps = [step for step in steps if not _copies_within_a_file(step)]

    real, memory = compare(steps)

    assert memory == real


def _leaves_the_root(step):
    return step[1] and step[1][0] == "../b"


def _copies_within_a_file(step):
    return step[0] == "copy_range" and step[2]["at"] == step[2]["to"]


def test_every_call_is_faked():
    assert [name for name in CALLS if name not in vars(MemoryDisk)] == []


@pytest.mark.parametrize("name", CALLS)
def test_the_fake_takes_what_the_disk_takes(name):
    assert inspect.signature(getattr(MemoryDisk, name)) == inspect.signature(getattr(Disk, name))


def test_a_directory_that_was_removed_takes_nothing_on_either(tmp_path):
    (tmp_path / "d").mkdir()
    memory = MemoryDisk()
    memory.make("/r/d")
    memory.put("/r/d/f")
    scripts = [Script(Disk(), str(tmp_path)), Script(memory, "/r")]

    for script in scripts:
        script.play("open_directory", "d")
    os.rmdir(tmp_path / "d")
    memory.remove("/r/d")
    for script in scripts:
        script.play("create", "x", at=1)
        script.play("create", "x")
        script.play("rename_exclusive", "x", "y", to=1)
        script.play("list_names", at=1)
        script.play("sync", at=1)
        script.play("status", "d")
        script.close()

    assert scripts[0].notes == scripts[1].notes
