"""From the administrator's process to the server: its state directory, its user, its lock.

In this order: root makes what the server's user cannot, and what the server makes later shall be its own.
"""

import codecs
import os
import pwd
import time
from pathlib import Path

from lmtpd.config import Config
from lmtpd.server.errors import CannotStart
from lmtpd.server.privileges import stay_root
from storage.directory import make_path
from storage.disk import Disk
from storage.server_lock import ServerLock, ServerRunning

# Workers of a server that was killed keep its lock while they drain.
LOCK_WAIT_S = 10.0
LOCK_PAUSE_S = 0.1


def become_server(config: Config, *, lock: ServerLock | None = None) -> ServerLock:
    """Make the state directory, drop privileges, take the lock unless it was handed over. CannotStart."""
    user = config.server.run_as if os.geteuid() == 0 and not config.acts_as_recipients else None
    try:
        entry = pwd.getpwnam(user) if user else None
    except KeyError as exc:
        raise CannotStart(f"server.run_as: there is no user {user}", os.EX_NOUSER) from exc
    state = Path(config.state)
    try:
        _make_directory(config.state, entry)
        for root in config.roots_to_make:
            _make_directory(root, entry)
        load_codecs()
        if entry is not None:
            drop_privileges(entry)
        elif config.acts_as_recipients:
            stay_root(config.owners)
    except OSError as exc:
        raise CannotStart(f"{exc.filename or 'server.run_as'}: {exc.strerror}", os.EX_CANTCREAT) from exc
    if not os.access(state, os.W_OK | os.X_OK):
        who = user or pwd.getpwuid(os.geteuid()).pw_name
        raise CannotStart(f"{state}: the state directory cannot be written by {who}", os.EX_CANTCREAT)
    return lock or _take_lock(config.ledger_path.with_name(config.ledger_path.name + ".server"))


def drop_privileges(entry: pwd.struct_passwd) -> None:
    """Become that user with all its groups, for good. Before any thread exists: each has its own."""
    os.initgroups(entry.pw_name, entry.pw_gid)
    os.setresgid(entry.pw_gid, entry.pw_gid, entry.pw_gid)
    os.setresuid(entry.pw_uid, entry.pw_uid, entry.pw_uid)


def refuse_fixed_keys(running: Config, wanted: Config) -> None:
    """Raise CannotStart for what only a new start can change: our lock and our user."""
    for key, before, after in (
        ("state", running.state, wanted.state),
        ("ledger.url", running.ledger_path, wanted.ledger_path),
        ("server.run_as", running.server.run_as, wanted.server.run_as),
    ):
        if before != after:
            raise CannotStart(f"{key} changes with a restart only", os.EX_CONFIG)


def _make_directory(path: str, owner: pwd.struct_passwd | None) -> None:
    try:
        for made in make_path(Disk(), path):
            if owner is not None:
                os.chown(made, owner.pw_uid, owner.pw_gid)
    except OSError as exc:
        # Made by its name in an open directory, it would be told by that name alone.
        raise CannotStart(f"{path}: cannot be made: {exc.strerror}", os.EX_CANTCREAT) from exc


def load_codecs() -> None:
    """Load what Python would load later, from files that the server's user may not be able to read."""
    for name in ("ascii", "latin-1", "utf-16-be", "punycode"):
        codecs.lookup(name)
    "\u00fc".encode("idna")


def _take_lock(path: Path) -> ServerLock:
    deadline = time.monotonic() + LOCK_WAIT_S
    while True:
        try:
            return ServerLock(path)
        except ServerRunning as exc:
            if exc.pid is None or _lives(exc.pid) or time.monotonic() > deadline:
                raise CannotStart(str(exc), os.EX_UNAVAILABLE) from exc
        except OSError as exc:
            raise CannotStart(f"{path}: {exc.strerror}", os.EX_CANTCREAT) from exc
        time.sleep(LOCK_PAUSE_S)


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
