"""Row (i): does a message cost more when there is more of everything? Each line is ours against ourselves.

The usual and the grown server run at the same time and get the load in turns; the first turn changes from
round to round, so that a machine that slows down or speeds up favours neither. Where the file system alone
could be the reason, the floor takes the same turns.
"""

import os
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path

from tests.bench.bench import Bench, Rate
from tests.bench.programs import Floor, Load
from tests.bench.results import FLOOR, OURS, Line, Target
from tests.bench.rows_costs import idle_connections
from tests.bench.rows_rates import KIB4
from tests.bench.servers import DOMAIN, Server, lmtpd

# Two runs of the same differ by some percent; what grows with the size would be far above that.
NO_GROWTH = Target(at_most=1.15)
UNIT = "x usual cost"
MAILBOX_MESSAGES = 200_000
USERS, USUAL_USERS = 100_000, 1_000
HISTORY_ROWS = 5_000_000
CONNECTIONS, ACTIVE = 1_000, 32

Turn = Callable[[], float]  # sends a load and returns the rate


def large_mailbox(bench: Bench) -> None:
    """Deliver to a mailbox that nobody has read for years."""
    count = bench.size(MAILBOX_MESSAGES)
    line = bench.line(
        Line("i", f"a mailbox with {count:,} messages, instead of an empty one", UNIT, (NO_GROWTH,))
    )
    usual, grown = lmtpd(bench.fresh("empty")), lmtpd(bench.fresh("large"))
    floors = [bench.fresh("empty-floor"), bench.fresh("large-floor")]
    for folder in (grown.mail / DOMAIN, floors[1]):
        _fill_mailbox(folder / "u000000", count)
    floors[0].mkdir()
    load = Load(ACTIVE, bench.size(10_000), KIB4, 1)
    with usual, grown:
        _compare(bench, line, OURS, _server_turns(bench, usual, grown, load))
    floor = Floor(ACTIVE, bench.size(20_000), KIB4, 1)
    _compare(bench, line, FLOOR, [partial(_floor_rate, bench, floor, folder) for folder in floors])


def many_users(bench: Bench) -> None:
    """Deliver to more mailboxes than any cache holds."""
    many = bench.size(USERS)
    what = f"{many:,} users, instead of {USUAL_USERS:,}"
    line = bench.line(Line("i", what, UNIT, (NO_GROWTH,)))
    usual, grown = lmtpd(bench.fresh("few")), lmtpd(bench.fresh("many"))
    sizes = ((usual, USUAL_USERS), (grown, many))
    for server, users in sizes:
        # The floor makes all Maildirs; deliveries in the same Maildirs follow below.
        (server.mail / DOMAIN).mkdir()
        Floor(ACTIVE, 0, KIB4, users).run(bench.programs.floor, server.mail / DOMAIN)
    messages = bench.size(10_000)
    turns = [partial(_rate, bench, server, Load(ACTIVE, messages, KIB4, users)) for server, users in sizes]
    with usual, grown:
        _compare(bench, line, OURS, turns)
    turns = [
        partial(_floor_rate, bench, Floor(ACTIVE, 2 * messages, KIB4, users), server.mail / DOMAIN)
        for server, users in sizes
    ]
    _compare(bench, line, FLOOR, turns)


def long_history(bench: Bench) -> None:
    """Deliver on top of a month of a busy site."""
    rows = bench.size(HISTORY_ROWS)
    line = bench.line(Line("i", f"a history of {rows:,} rows, instead of none", UNIT, (NO_GROWTH,)))
    usual, grown = lmtpd(bench.fresh("no-history")), lmtpd(bench.fresh("history"))
    with grown:
        bench.send(grown, Load(1, 10, KIB4, 1))  # makes the file and its tables
    _fill_history(grown.folder / "state" / "history.db", rows)
    load = Load(ACTIVE, bench.size(16_000), KIB4, ACTIVE)
    with usual, grown:
        _compare(bench, line, OURS, _server_turns(bench, usual, grown, load))


def many_connections(bench: Bench) -> None:
    """Deliver beside idle connections, and over as many busy ones."""
    most = 200 if bench.quick else CONNECTIONS
    idle = bench.line(Line("i", f"{ACTIVE} connections and {most - ACTIVE:,} idle ones", UNIT, (NO_GROWTH,)))
    busy = bench.line(Line("i", f"{most:,} busy connections, instead of {ACTIVE}", UNIT, (NO_GROWTH,)))
    server = lmtpd(bench.fresh("connections"))
    load = Load(ACTIVE, bench.size(16_000), KIB4, ACTIVE)
    crowd = Load(most, bench.size(16_000), KIB4, ACTIVE)

    def beside_idle_ones() -> float:
        with idle_connections(server, most - ACTIVE):
            return _rate(bench, server, load)

    usual = partial(_rate, bench, server, load)
    with server:
        usual()
        _compare(bench, idle, OURS, [usual, beside_idle_ones])
        _compare(bench, busy, OURS, [usual, partial(_rate, bench, server, crowd)])


# ---- taking turns ---------------------------------------------------------------------------------


def _server_turns(bench: Bench, usual: Server, grown: Server, load: Rate) -> Sequence[Turn]:
    for server in (usual, grown):
        bench.send(server, Load(ACTIVE, 320, KIB4, ACTIVE))
    return [partial(_rate, bench, server, load) for server in (usual, grown)]


def _compare(bench: Bench, line: Line, system: str, turns: Sequence[Turn]) -> None:
    """Let the usual and the grown one take turns; a sample is the ratio of the rates of a pair."""
    os.sync()  # making things large left the disk work to do, which the first turn would wait for
    for count in range(bench.rounds):
        order = (0, 1) if count % 2 == 0 else (1, 0)
        rates = {place: turns[place]() for place in order}
        line.add(f"{system}, usual, messages/s", rates[0])
        line.add(f"{system}, grown, messages/s", rates[1])
        bench.say(f"(i) {system}: usual {rates[0]:,.0f}/s, grown {rates[1]:,.0f}/s")
        bench.note(line, system, rates[0] / rates[1])


def _rate(bench: Bench, server: Server, load: Rate) -> float:
    return bench.send(server, load).timing.rate


def _floor_rate(bench: Bench, floor: Floor, folder: Path) -> float:
    return floor.run(bench.programs.floor, folder).rate


# ---- making things large --------------------------------------------------------------------------


def _fill_mailbox(maildir: Path, count: int) -> None:
    """Make a Maildir whose new/, where deliveries go, has been left alone for long."""
    for part in ("tmp", "new", "cur"):
        (maildir / part).mkdir(parents=True)
    new = os.open(maildir / "new", os.O_RDONLY | os.O_DIRECTORY)
    try:
        for number in range(count):
            name = f"1700000000.M{number:06d}P1Q{number}R0123456789abcdef.bench,S=1,W=1"
            fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=new)
            os.write(fd, b"\n")
            os.close(fd)
        os.fsync(new)
    finally:
        os.close(new)


# Rows as the server writes them, from some weeks and for the users of a large site. Each Message-ID, queue id
# and file name is another one.
FILL = """
WITH RECURSIVE number (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < :rows)
INSERT INTO history_0 (at, transaction_id, queue_id, message_id, sender, recipient, mailbox, file, octets,
                     outcome, reply, client, helo, phases)
SELECT strftime('%s') - 2500000.0 * (:rows - n) / :rows,
       lower(hex(randomblob(8))),
       hex(randomblob(6)),
       lower(hex(randomblob(12))) || '@load.example',
       'sender' || abs(random() % 100000) || '@load.example',
       printf('u%06d@bench.example', abs(random() % 100000)),
       printf('/srv/mail/bench.example/u%06d', abs(random() % 100000)),
       1700000000 + n || '.M' || n || 'P1Q' || n || 'R' || lower(hex(randomblob(8))) || '.mx.example,S=4096',
       4096, 'delivered', '250 2.0.0 Saved', 'unix', 'load.example',
       '{"stage": 1.5, "sync": 0.8, "publish": 0.4}'
FROM number
"""


def _fill_history(path: Path, rows: int) -> None:
    """Put rows into the history of a stopped server; making the indexes afterwards is much faster."""
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute("PRAGMA synchronous = OFF")
        database.execute("PRAGMA cache_size = -500000")
        indexes = database.execute(
            "SELECT name, sql FROM sqlite_master"
            " WHERE type = 'index' AND tbl_name = 'history_0' AND sql IS NOT NULL"
        ).fetchall()
        for name, _ in indexes:
            database.execute(f'DROP INDEX "{name}"')
        database.execute(FILL, {"rows": rows})
        for _, sql in indexes:
            database.execute(sql)
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
