"""A server that is stopped may have children that are just ending: they are no reason to wait."""

import subprocess
import sys

from tests.support.hanging import children_of, let_go_on, let_hang
from tests.support.polling import wait_for


def test_a_child_that_has_ended_counts_as_stopped():
    script = "import os, time\nif os.fork(): time.sleep(60)"  # nobody waits for the child
    with subprocess.Popen([sys.executable, "-c", script]) as parent:
        try:
            (child,) = wait_for(lambda: children_of(parent.pid), "the child")
            let_hang(parent.pid)
            wait_for(lambda: b"Z" in _state(child), "the child's end")

            let_hang(child)
            let_go_on(child)
        finally:
            parent.kill()


def test_a_process_that_is_gone_needs_no_stop():
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()

    let_hang(process.pid)
    let_go_on(process.pid)


def test_what_is_stopped_goes_on():
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        let_hang(process.pid)
        let_go_on(process.pid)

        process.communicate(b"\n", timeout=60)

    assert process.returncode == 0


def _state(pid: int) -> bytes:
    with open(f"/proc/{pid}/stat", "rb") as file:
        return file.read().rpartition(b")")[2].split()[0]
