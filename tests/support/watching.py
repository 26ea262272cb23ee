"""A running `maildir-watch`, as it is in life: a process that is told nothing but by the kernel."""

import json
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

from tests.support.polling import PATIENCE
from tests.support.requirements import ROOT

PATIENCE_S = 30 * PATIENCE
_CODE = "import sys; from scripts.watch import main; sys.exit(main())"


class Watching:
    """The process, and what it prints."""

    def __init__(self, *arguments: object) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", _CODE, *map(str, arguments)],
            cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.threads: list[threading.Thread] = []
        self.lines: queue.Queue[str] = queue.Queue()
        self.said: queue.Queue[str] = queue.Queue()
        for stream, lines in ((self.process.stdout, self.lines), (self.process.stderr, self.said)):
            assert stream is not None
            self.threads.append(threading.Thread(target=self._read, args=(stream, lines), daemon=True))
            self.threads[-1].start()

    def _read(self, stream: IO[str], lines: "queue.Queue[str]") -> None:
        with stream:
            for line in stream:
                lines.put(line)

    def fact(self) -> dict[str, Any]:  # Any: what JSON can say
        """Wait for the next change."""
        fact: dict[str, Any] = json.loads(self.lines.get(timeout=PATIENCE_S))
        return fact

    def next(self) -> tuple[str, str]:
        """Wait for the next change; return its kind and the message's name."""
        fact = self.fact()
        return fact["kind"], fact["name"]

    def rest(self) -> list[dict[str, Any]]:  # Any: as above
        """Return what it has said when it has ended."""
        self.threads[0].join(PATIENCE_S)
        return [json.loads(self.lines.get_nowait()) for _ in range(self.lines.qsize())]


@contextmanager
def watching(*arguments: object) -> Iterator[Watching]:
    """Run it with --json until the `with` block ends; it watches already when that begins."""
    watch = Watching(*arguments, "--json")
    try:
        said = watch.said.get(timeout=PATIENCE_S)
        assert said.startswith("watching"), said
        yield watch
    finally:
        watch.process.kill()
        watch.process.wait()
        for thread in watch.threads:
            thread.join(PATIENCE_S)
