"""Row (e): a queue of Postfix's that is released at once, and the time until the last message has left it."""

import os
import pwd
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from tests.bench.bench import Bench, expect_messages
from tests.bench.programs import RunFailed, SmtpSource, run_together
from tests.bench.results import DOVECOT, FLOOR, VIRTUAL, Line, Target
from tests.bench.servers import DOMAIN, OWNER, Server, sink
from tests.support.postfix import Postfix
from tests.support.requirements import program

MESSAGES = 4_000
USERS = 40
OCTETS = 4096
DRAIN_S = 180.0
POLL_S = 0.02
# Where a message waits or is on its way, in the order in which it goes through them.
STATES = ("deferred", "incoming", "active")

# Everything is held at first, and what fails would not be tried again within the run. The limits on parallel
# deliveries are Postfix's own.
SETTINGS = {
    "smtpd_client_restrictions": "check_client_access static:HOLD",
    "queue_run_delay": "1000s",
    "minimal_backoff_time": "1000s",
    "maximal_backoff_time": "4000s",
}
# An LMTP client that is not chrooted, as virtual(8) never is: the sockets lie outside the queue.
SERVICES = """\
virtual unix - n n - - virtual
bench unix - - n - - lmtp
"""


def queue(bench: Bench) -> None:
    """Measure Postfix's virtual(8), Dovecot and lmtpd behind the same queue.

    The floor is what Postfix's own LMTP client can do: its peer, smtp-sink(1), stores nothing.
    """
    messages = bench.size(MESSAGES) // USERS * USERS
    what = f"a Postfix queue of {messages:,} messages (floor: smtp-sink, stores nothing)"
    targets = (Target(at_least=1.0, of=VIRTUAL), Target(at_least=2.0, of=DOVECOT))
    line = bench.line(Line("e", what, "messages/s", targets))
    for _ in range(bench.rounds):
        if bench.has(VIRTUAL):
            bench.note(line, FLOOR, _through_lmtp(bench, sink(bench.fresh("sink")), messages))
            bench.note(line, VIRTUAL, _through_virtual(bench, messages))
        for make in bench.servers():
            server = make()
            rate = _through_lmtp(bench, server, messages)
            expect_messages(server.mail, messages)
            bench.note(line, server.name, rate)


def _through_virtual(bench: Bench, messages: int) -> float:
    mail = bench.fresh("virtual")
    (mail / DOMAIN).mkdir(parents=True)
    uid, gid = _owner()
    os.chown(mail / DOMAIN, uid, gid)
    # virtual(8) takes no table that builds paths of parts of the address. The last slash makes it a Maildir.
    users = mail / "users"
    users.write_text("".join(f"u{user}@{DOMAIN} {DOMAIN}/u{user}/\n" for user in range(USERS)))
    settings = {
        "virtual_mailbox_base": str(mail),
        "virtual_mailbox_maps": f"texthash:{users}",
        "virtual_minimum_uid": "1",
        "virtual_uid_maps": f"static:{uid}",
        "virtual_gid_maps": f"static:{gid}",
    }
    with _postfix(bench, "virtual", settings) as postfix:
        seconds = _fill_and_drain(postfix, messages)
        expect_messages(mail, messages)
    return messages / seconds


def _through_lmtp(bench: Bench, server: Server, messages: int) -> float:
    with server, _postfix(bench, f"bench:unix:{server.socket}", {}) as postfix:
        seconds = _fill_and_drain(postfix, messages)
    return messages / seconds


@contextmanager
def _postfix(bench: Bench, transport: str, settings: dict[str, str]) -> Iterator[Postfix]:
    folder = bench.fresh("postfix")
    folder.mkdir()
    postfix = Postfix(folder, {**SETTINGS, "virtual_transport": transport, **settings})
    try:
        postfix.start()
        with (postfix.config / "master.cf").open("a") as services:
            services.write(SERVICES)
        postfix.set()  # reloads
        yield postfix
    except BaseException as exc:
        exc.add_note(f"--- Postfix's log\n{postfix.log[-3000:]}")
        raise
    finally:
        postfix.stop()


def _fill_and_drain(postfix: Postfix, messages: int) -> float:
    """Fill the hold queue by SMTP, release everything, return the seconds until nothing is left."""
    _fill(postfix, messages)
    held = len(postfix.files_in("hold"))
    if held != messages:
        raise RunFailed(f"{held} messages are held where {messages} were sent")
    _command(postfix, "postsuper", "-H", "ALL")
    began = time.monotonic()
    _command(postfix, "postqueue", "-f")
    while not _is_empty(postfix.queue):
        if time.monotonic() - began > DRAIN_S:
            raise RunFailed(f"the queue is not empty after {DRAIN_S:g} s")
        time.sleep(POLL_S)
    return time.monotonic() - began


def _fill(postfix: Postfix, messages: int) -> None:
    def send(user: int) -> None:
        load = SmtpSource(1, 1, messages // USERS, OCTETS)
        run_together([load.command(f"inet:127.0.0.1:{postfix.port}", user)])

    with ThreadPoolExecutor(8) as clients:
        list(clients.map(send, range(USERS)))


def _is_empty(queue: Path) -> bool:
    """Look twice: a message that moves on between two looks could be missed once."""
    return not any(_has_file(queue / state) for _ in range(2) for state in STATES)


def _has_file(folder: Path) -> bool:
    """Stop at the first file: listing thousands again and again would cost what is measured."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_file(follow_symlinks=False) or _has_file(Path(entry.path)):
                return True
    return False


def _owner() -> tuple[int, int]:
    found = pwd.getpwnam(OWNER)
    return found.pw_uid, found.pw_gid


def _command(postfix: Postfix, name: str, *arguments: str) -> None:
    subprocess.run(
        [program(name), "-c", str(postfix.config), *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=True,
        timeout=120,
    )
