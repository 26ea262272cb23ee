"""Load from many clients while the server is killed at random and started again; then the books are compared.

`make soak` runs ten of 10,000 messages. A run is repeated with its seed, as far as its kills allow.
"""

import argparse
import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.crash.account import Account, Sent
from tests.crash.books import check_ledger
from tests.crash.client import Behind, Client, settle
from tests.crash.oracle import Mailboxes, Violation, check
from tests.crash.tally import WORST
from tests.support.polling import PATIENCE
from tests.support.server import Server

MAILBOXES = 20
CLIENTS = 8
DEADLINE_S = 120.0 * PATIENCE  # for one message to be answered for good, restarts of the server included
PATIENCE_S = 15.0 * PATIENCE  # with one reply
BEHAVIOURS = [*Behind, Behind.QUIT, Behind.NOTHING]  # orderly ones twice


class Soak:
    """One run: `clients` threads send `messages` in all; a killer ends the server or one of its workers."""

    def __init__(self, folder: Path, *, messages: int, kill_every_s: tuple[float, float], seed: int) -> None:
        self.account = Account(seed)
        self.server = Server(folder, flags=["--workers", "2", "--set", "limits.idle_s=30"])
        self.kills = 0
        self._per_client = messages // CLIENTS
        self._kill_every_s = kill_every_s
        self._seed = seed
        self._composing = threading.Lock()
        self._over = threading.Event()
        self._errors: list[BaseException] = []

    def run(self) -> list[Violation]:
        """Send, kill, settle, stop in order, and return what the oracle finds."""
        with self.server as server:
            killer = threading.Thread(target=self._guarded, args=(self._kill,))
            clients = [
                threading.Thread(target=self._guarded, args=(self._send, place)) for place in range(CLIENTS)
            ]
            for thread in (*clients, killer):
                thread.start()
            for thread in clients:
                thread.join()
            self._over.set()
            killer.join()
            if self._errors:
                raise self._errors[0]
            server.restart()
            client = Client(server.addresses[0], timeout_s=PATIENCE_S)
            settle(client, self.account)
            # A worker's leftovers go when its mailbox is opened next.
            for user in range(MAILBOXES):
                client.send(self.account.compose(f"user{user}@example.org"), Behind.NOTHING)
            client.quit()
        books = check_ledger(server.state / "ledger.db")
        return check(self.account, Mailboxes(root=server.mail), settled=True, ledger=books)

    def _guarded(self, deed: object, *arguments: object) -> None:
        assert callable(deed)
        try:
            deed(*arguments)
        except BaseException as exc:  # noqa: BLE001 told by the main thread
            self._errors.append(exc)
            self._over.set()

    def _send(self, place: int) -> None:
        choose = random.Random(f"{self._seed}/{place}")
        client = Client(self.server.addresses[0], timeout_s=PATIENCE_S)
        for _ in range(self._per_client):
            if self._errors:
                break
            sent = self._compose(choose)
            client.send(sent, choose.choice(BEHAVIOURS))
            self._settle(client, sent)
        client.quit()

    def _compose(self, choose: random.Random) -> Sent:
        users = choose.sample(range(MAILBOXES), choose.choice([1, 1, 1, 2, 5]))
        octets = choose.choices([200, 600, 4096, 20_000, 300_000], weights=[4, 4, 8, 3, 1])[0]
        with self._composing:
            return self.account.compose(*(f"user{user}@example.org" for user in users), octets=octets)

    def _settle(self, client: Client, sent: Sent) -> None:
        """Try again until the message is answered for good, as its queue would."""
        give_up = time.monotonic() + DEADLINE_S
        while sent.open_places and time.monotonic() < give_up and not self._errors:
            client.send(sent)
            if sent.open_places:
                time.sleep(0.02)
        if not sent.open_places:
            sent.forget()

    # ---- the killer -----------------------------------------------------------------------------

    def _kill(self) -> None:
        choose = random.Random(f"{self._seed}/killer")
        while not self._over.wait(choose.uniform(*self._kill_every_s)):
            if choose.random() < 0.5:
                self._kill_a_worker(choose)
            else:
                self.server.kill()
                self.account.crashed()
                self.server.start()
            self.kills += 1
        self.account.crashed()

    def _kill_a_worker(self, choose: random.Random) -> None:
        children = Path(f"/proc/{self.server.pid}/task/{self.server.pid}/children").read_text().split()
        if children:
            with suppress(ProcessLookupError):
                os.kill(int(choose.choice(children)), signal.SIGKILL)
            self.account.crashed()


@contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="lmtpd-soak-") as name:
        yield Path(name)


def main() -> int:
    """Run as a program: print a summary, and every violation."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    arguments = parser.parse_args()
    with _folder() as folder:
        began = time.monotonic()
        soak = Soak(folder, messages=arguments.messages, kill_every_s=(0.3, 3.0), seed=arguments.seed)
        violations = soak.run()
        took_s = time.monotonic() - began
        sent = len(soak.account.sent)
        summary = f"{sent:,} messages, {soak.kills} kills, {took_s:.0f} s, seed {arguments.seed}"
        counts = Counter(violation.kind for violation in violations)
        told = ", ".join(f"{counts[kind]} {kind.value}" for kind in WORST)
        other = counts.total() - sum(counts[kind] for kind in WORST)
        lines = [*map(str, violations), f"soak: {summary}: {told}, {other} otherwise wrong"]
        sys.stdout.write("\n".join([*lines, ""]))
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main())
