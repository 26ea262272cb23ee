"""The state directory: the ledger and the history, whose they are and whether they are sound."""

import os
import pwd
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from lmtpd.cli.doctor.findings import Finding, command, critical, warning
from lmtpd.config import Config
from storage.database import how_to_set_aside
from storage.reading import octets_of, reading

_TIMEOUT_S = 2.0
_CHECKED_OCTETS = 64 << 20  # a check of the whole file takes about 1 ms for each MiB


def check_state(config: Config, uid: int) -> Iterator[Finding]:
    """Look at the files."""
    if not os.path.isdir(config.state):
        return  # the server has never run; that it does not is found elsewhere
    for path in (config.ledger_path, config.history_path):
        yield from _soundness(path, is_ledger=path == config.ledger_path)
    foreign = [
        name for name in os.listdir(config.state) if _uid(os.path.join(config.state, name)) not in (uid, None)
    ]
    if foreign or _uid(config.state) not in (uid, 0):
        owner = pwd.getpwuid(uid).pw_name
        what = os.path.join(config.state, foreign[0]) if foreign else config.state
        yield critical(
            "state.owner",
            f"{what} is not {owner}'s, who runs the server",
            command("chown", "-R", owner, config.state),
        )


def newest_at(config: Config) -> float:
    """Return when the newest delivery was written down; 0.0: none is known."""
    latest = 0.0
    for path, query in (
        (config.history_path, "SELECT max(at) FROM history"),
        (config.ledger_path, "SELECT max(created) FROM records"),
    ):
        try:
            with reading(path, timeout_s=_TIMEOUT_S) as connection:
                ((found,),) = connection.execute(query).fetchall()
        except sqlite3.Error:
            continue
        latest = max(latest, float(found or 0.0))
    return latest


def _soundness(path: Path, *, is_ledger: bool) -> Iterator[Finding]:
    if not path.exists():
        return
    try:
        with reading(path, timeout_s=_TIMEOUT_S) as connection:
            query = "PRAGMA quick_check(1)" if octets_of(path) <= _CHECKED_OCTETS else "PRAGMA schema_version"
            ((verdict,),) = connection.execute(query).fetchall()
    except sqlite3.OperationalError as exc:
        yield warning("state.readable", f"{path} cannot be read: {exc}", command("ls", "-l", str(path)))
        return
    except sqlite3.DatabaseError as exc:
        verdict = str(exc)
    if verdict != "ok" and not isinstance(verdict, int):
        make = critical if is_ledger else warning
        what = "mail is deferred" if is_ledger else "trace knows nothing"
        yield make(
            "state.ledger" if is_ledger else "state.history",
            f"{path} is damaged ({verdict}): {what}",
            how_to_set_aside(path),
        )


def _uid(path: str) -> int | None:
    try:
        return os.lstat(path).st_uid
    except OSError:
        return None
