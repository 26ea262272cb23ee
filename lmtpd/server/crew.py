"""The threads of a worker: each serves one connection after another, and waits for the next in between."""

import queue
import threading
from collections.abc import Callable

# Enough for OpenSSL, SQLite and the resolver. Linux gives out pages only as they are touched, but 8 MiB
# apiece, the default, would exhaust the address space a container may have (RLIMIT_AS) at 1,000 threads.
STACK_OCTETS = 256 * 1024
IDLE_S = 60.0

Job = Callable[[], None]


class Crew:
    """Start a job at once, in an idle thread if there is one. Jobs are handed in by one thread only."""

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[Job] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._idle = 0  # threads that wait for a job that is not yet theirs
        threading.stack_size(STACK_OCTETS)

    def start(self, job: Job) -> None:
        """Run job, which must not raise; RuntimeError or MemoryError when no thread can be had for it."""
        with self._lock:
            has_idle = self._idle > 0
            if has_idle:
                self._idle -= 1
        if not has_idle:
            # Daemons: a worker at the end of its drain does not wait for a disk that does not answer.
            threading.Thread(target=self._work, daemon=True).start()
        # Not as the thread's argument, which would be kept as long as the thread.
        self._jobs.put(job)

    def _work(self) -> None:
        job: Job | None = self._jobs.get()
        while job is not None:
            job()
            job = None  # with all that it holds, while this thread is idle
            job = self._next()

    def _next(self) -> Job | None:
        """Wait for a job; None after a while, in which none was promised to this thread."""
        with self._lock:
            self._idle += 1
        try:
            return self._jobs.get(timeout=IDLE_S)
        except queue.Empty:
            with self._lock:
                if self._idle > 0:
                    self._idle -= 1
                    return None
        # A job was promised to a waiting thread in this very moment, and all others have gone.
        return self._jobs.get()
