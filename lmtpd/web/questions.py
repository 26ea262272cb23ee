"""What the page asks the history, in SQL: for its charts, and as Datasette's canned queries.

All read the view `history` behind a moment, which its index on `at` answers.  `:hours` is how far to look
back (24 if empty); of long spans every `:step`-th row stands for the others where JSON has to be read.
"""

# S608: only constants of this module become part of a statement.
# ruff: noqa: S608

SLOTS = 48  # of a span, in charts over time
SAMPLED = 5_000  # rows whose JSON is read for one chart

_HOURS = "CAST(coalesce(nullif(:hours, ''), 24) AS REAL)"
_NOW = "CAST(strftime('%s', 'now') AS REAL)"
_RECENT = f"at >= {_NOW} - {_HOURS} * 3600"
# What is a select is evaluated once, not for each row; in the condition it would keep SQLite from the index.
_END, _SLOT_S = f"(SELECT {_NOW})", f"(SELECT {_HOURS} * 3600 / {SLOTS})"
_SLOT = f"max(0, {SLOTS - 1} - CAST(max(0, {_END} - at) / {_SLOT_S} AS INTEGER)) AS slot"
_SAMPLE = f"{_RECENT} AND phases IS NOT NULL AND id % max(1, CAST(:step AS INTEGER)) = 0"

DELIVERIES = f"SELECT {_SLOT}, outcome, count(*) AS recipients FROM history WHERE {_RECENT} GROUP BY 1, 2"
DELAYS = (
    "SELECT slot, avg(ms) AS mean_ms, max(ms) AS longest_ms FROM"
    f" (SELECT {_SLOT}, (SELECT sum(value) FROM json_each(phases)) AS ms FROM history WHERE {_SAMPLE})"
    " GROUP BY slot"
)
CAUSES = (
    "SELECT substr(cause, 1, instr(cause || ':', ':') - 1) AS cause, count(*) AS recipients"
    f" FROM history WHERE {_RECENT} AND outcome IN ('refused', 'deferred', 'dropped') AND cause IS NOT NULL"
    " GROUP BY 1 ORDER BY 2 DESC LIMIT 10"
)
PHASES = (
    "SELECT key AS phase, avg(value) AS mean_ms, max(value) AS longest_ms FROM"
    f" (SELECT phases FROM history WHERE {_SAMPLE}), json_each(phases) GROUP BY key ORDER BY 2 DESC"
)
MAILBOXES = (
    "SELECT mailbox, count(*) AS messages, sum(octets) AS octets FROM history"
    f" WHERE {_RECENT} AND outcome = 'delivered' AND mailbox IS NOT NULL"
    " GROUP BY mailbox ORDER BY 3 DESC LIMIT 10"
)

CANNED = {
    "deliveries": ("Deliveries over time", DELIVERIES),
    "delays": ("Delays over time", DELAYS),
    "causes": ("Refusals by cause", CAUSES),
    "phases": ("Slowest phases", PHASES),
    "mailboxes": ("Largest mailboxes", MAILBOXES),
}
