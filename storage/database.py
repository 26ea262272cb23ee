"""SQLite files that several processes write in turn: the ledger, the history, the outbox and others.

Owns opening, migrating, noticing that a file was taken away or damaged, and the turns.  The only
module that imports sqlite_utils.  Transactions and statements belong to its users; see also turns.py.

Writers queue on FILE.lock with a blocking flock, which the kernel grants in order and at once; SQLite's
own busy handler sleeps and guesses, and serves only against programs that do not know of the lock.

Errors leave this module as sqlite3.Error and OSError; its users give them their names.
"""

import fcntl
import os
import shlex
import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import sqlite_utils

BUSY_TIMEOUT_S = 2.0  # for foreign writers; ours queue on the lock, and their transactions take milliseconds

# SQLite's default: a checkpoint, with its two syncs, about every 300 batches.  Together with the second
# limit, which takes effect once a foreign reader that held up checkpoints has left, it bounds the log.
_CHECKPOINT_PAGES = 1000
_LOG_OCTETS = 8 << 20

# A check of the whole file takes about 1 ms per MiB.  A ledger is far below this; a history is not,
# and is checked as it is read.
_CHECKED_OCTETS = 16 << 20

Identity = tuple[int, int]  # device and inode


class DatabaseDamaged(sqlite3.DatabaseError):
    """The file is a database, but its pages contradict each other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Schema:
    """The versions of a file's tables: each step's name, and the statements that lead to it.

    Steps are only ever appended; those that a file has seen are noted in its _sqlite_migrations.
    """

    name: str
    steps: Mapping[str, Sequence[str]]


class SharedDatabase:
    """One SQLite file in WAL mode, for one process among several.

    Not for several threads at once: the caller sees to it.  Made after the fork.  Nothing is opened
    before the first begin(); opened is called in a transaction of its own at every opening.
    """

    def __init__(
        self,
        path: Path,
        schema: Schema,
        *,
        durable: bool,
        opened: Callable[[sqlite3.Connection], object] = lambda _: None,
        busy_timeout_s: float = BUSY_TIMEOUT_S,
    ) -> None:
        self._path = os.path.abspath(path)
        self._schema = schema
        self._synchronous = "FULL" if durable else "NORMAL"
        self._opened = opened
        self._busy_timeout_s = busy_timeout_s
        self._lock: int | None = None
        self._connection: sqlite3.Connection | None = None
        self._identities: tuple[Identity, Identity] | None = None
        self._is_relaxed = False  # this transaction's commit is not synced
        self._is_suspect = False  # a commit failed by an I/O error
        self._is_closed = False

    def begin(self, *, synced: bool = True) -> sqlite3.Connection:
        """Wait for our turn and begin a transaction; without synced its commit waits for no disk.

        The file is opened anew after give_up(), and when it was deleted or replaced: a record
        written to a file without a name would be gone with this process.  After any error, here
        or in the transaction, the caller calls give_up().
        """
        connection = self._take_turn()
        if not synced and self._synchronous != "NORMAL":
            # As a script: it is compiled each time, and some pragmas act when they are compiled.
            connection.executescript("PRAGMA synchronous = NORMAL")
            self._is_relaxed = True
        connection.execute("BEGIN IMMEDIATE")
        return connection

    def commit(self) -> None:
        """End transaction and turn; durable on return if synced."""
        assert self._connection is not None
        assert self._lock is not None
        self._connection.execute("COMMIT")
        if self._is_relaxed:
            self._connection.executescript(f"PRAGMA synchronous = {self._synchronous}")
            self._is_relaxed = False
        fcntl.flock(self._lock, fcntl.LOCK_UN)

    def give_up(self, cause: BaseException | None = None) -> None:
        """Drop turn, transaction and connection; the next begin() starts with a clean one."""
        if isinstance(cause, sqlite3.Error) and _primary_code(cause) == sqlite3.SQLITE_IOERR:
            self._is_suspect = True
        if self._connection is not None:
            self._connection.close()  # rolls back
            self._connection = self._identities = None
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def close(self) -> None:
        """Close for good: later turns are refused.  May be called again."""
        self._is_closed = True
        self.give_up()

    def _take_turn(self) -> sqlite3.Connection:
        if self._connection is not None and self._lock is not None:
            fcntl.flock(self._lock, fcntl.LOCK_EX)
            found = self._look_at_files()
            if found is not None and found == self._identities:
                return self._connection
            if found is not None and self._identities is not None and found[1] == self._identities[1]:
                # Another file has our log beside it, which SQLite would take for its own.
                _remove_companions(self._path)
            self.give_up()
        if self._is_closed:
            raise sqlite3.ProgrammingError("the database was closed")
        self._lock = os.open(
            self._path + ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600
        )
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        self._connection = self._open()
        self._is_relaxed = False
        return self._connection

    def _open(self) -> sqlite3.Connection:
        _create(self._path)
        # One thread uses the connection at a time, but not always the same one.
        connection = sqlite3.connect(
            self._path, timeout=self._busy_timeout_s, isolation_level=None, check_same_thread=False
        )
        try:
            _set_up(connection, self._synchronous)
            _migrate(connection, self._schema)
            connection.execute("BEGIN IMMEDIATE")
            self._opened(connection)
            connection.execute("COMMIT")
            self._settle_log(connection)
            _sync_directory(os.path.dirname(self._path))
            self._identities = self._look_at_files()
        except BaseException:
            connection.close()
            raise
        return connection

    def _settle_log(self, connection: sqlite3.Connection) -> None:
        """Bring what the log holds into the database, synced, and begin the log anew.

        A failed fdatasync leaves pages behind that look written and are not, and later syncs do not
        mention them: a transaction that follows in the same log would be cut off with them by the
        next power cut.  Copied out of the log they are written once more.  A process that was killed
        after such an error cannot tell us, so this is done at every opening.
        """
        ((was_busy, _, _),) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        if was_busy and self._is_suspect:
            raise sqlite3.OperationalError("a reader keeps the log that could not be synced")
        self._is_suspect = False

    def _look_at_files(self) -> tuple[Identity, Identity] | None:
        """Name the files that a new opening would find; None when one is missing."""
        try:
            database, log = os.stat(self._path), os.stat(self._path + "-wal")
        except FileNotFoundError:
            return None
        return (database.st_dev, database.st_ino), (log.st_dev, log.st_ino)


def is_damage(error: BaseException) -> bool:
    """Tell whether waiting cannot help, since the file itself is not what it should be."""
    return isinstance(error, DatabaseDamaged) or (
        isinstance(error, sqlite3.DatabaseError)
        and _primary_code(error) in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
    )


def how_to_set_aside(path: Path) -> str:
    """Give the command line that moves a damaged file and its companions out of the way."""
    # Not into the same directory: the pattern would then catch the results of an earlier time.
    aside = shlex.quote(os.fspath(path.with_name(f"damaged-{path.name}-{int(time.time())}")))
    return f"mkdir {aside} && mv {shlex.quote(os.fspath(path))}* {aside}/"


def _primary_code(error: sqlite3.Error) -> int:
    # Errors of the module itself, such as the use of a closed connection, carry no code.
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def _create(path: str) -> None:
    """Make the file for our eyes only, unless it exists; SQLite gives log and index the same mode.

    An existing file is never opened here: closing it would drop the locks that SQLite holds on it
    elsewhere in this process.
    """
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        return
    os.close(fd)
    # What is left of a file that was deleted alone may still be in use by other processes.
    _remove_companions(path)


def _remove_companions(path: str) -> None:
    for companion in ("-wal", "-shm"):
        try:
            os.unlink(path + companion)
        except FileNotFoundError:
            pass


def _set_up(connection: sqlite3.Connection, synchronous: str) -> None:
    ((mode,),) = connection.execute("PRAGMA journal_mode = WAL").fetchall()
    if mode != "wal":
        raise sqlite3.OperationalError("the file system does not allow SQLite's write-ahead log")
    connection.execute(f"PRAGMA synchronous = {synchronous}")
    connection.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}")
    connection.execute(f"PRAGMA journal_size_limit = {_LOG_OCTETS}")
    # Zeroing what was deleted must not cost writes of its own.
    connection.execute("PRAGMA secure_delete = FAST")
    ((pages,),) = connection.execute("PRAGMA page_count").fetchall()
    ((page_octets,),) = connection.execute("PRAGMA page_size").fetchall()
    if pages * page_octets <= _CHECKED_OCTETS:
        ((verdict,),) = connection.execute("PRAGMA quick_check(1)").fetchall()
        if verdict != "ok":
            raise DatabaseDamaged(verdict)


def _migrate(connection: sqlite3.Connection, schema: Schema) -> None:
    """Bring the tables to the newest version, wholly or not at all."""
    migrations = sqlite_utils.Migrations(schema.name)
    for name, statements in schema.steps.items():
        migrations(name=name)(_step(statements))
    # No plugins: whatever happens to be installed has no business in a mail server.
    database = sqlite_utils.Database(connection, recursive_triggers=False, execute_plugins=False)
    if migrations.pending(database):
        with database.atomic():
            migrations.apply(database)


def _step(statements: Sequence[str]) -> Callable[[sqlite_utils.Database], None]:
    def run(database: sqlite_utils.Database) -> None:
        for statement in statements:
            database.execute(statement)

    return run


def _sync_directory(path: str) -> None:
    """Make the names of new files durable; SQLite syncs them only at times of its own."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
