"""A history as weeks of mail would leave it, with texts that an attacker chose."""

import math
import random
import time
from pathlib import Path

from storage.history import History, HistoryRow

HOSTILE_ID = "<<script>document.title='owned'</script>@evil.example>"
HOSTILE_SENDER = "\"><script>document.title='owned'</script>@evil.example"
CAUSES = (
    "unknown: no such Maildir",
    "mailbox_full: 2 GB",
    "disk_full: ENOSPC",
    "too_big: 120 MB",
    "rate: 100 an hour",
)


def generate(path: Path, rows: int, *, days: float = 1.0, seed: int = 7) -> None:
    """Write so many rows, the newest of them now; some in the middle are hostile."""
    rng, now = random.Random(seed), time.time()
    history = History(path, segment_rows=max(1000, rows // 3))
    batch: list[HistoryRow] = []
    for number in range(rows):
        at = now - days * 86_400 * (1 - (number + 1) / rows)
        outcome = rng.choices(("delivered", "refused", "deferred", "recognised"), (90, 6, 3, 1))[0]
        user = rng.choice(("anna", "bob", "carla", "dmitri", "eve", "office"))
        slow = 1 + math.sin(number / rows * 12) ** 2
        batch.append(
            HistoryRow(
                at=at,
                outcome=outcome,
                queue_id=f"4Q{number:08X}",
                transaction_id=f"{number:014x}",
                message_id=HOSTILE_ID if number == rows // 2 else f"<{number}@example.net>",
                sender=HOSTILE_SENDER if number == rows // 2 else f"sender{number % 97}@example.net",
                recipient=f"{user}@example.org",
                mailbox=f"/srv/mail/example.org/{user}" if outcome == "delivered" else "",
                octets=int(rng.lognormvariate(9.5, 1.3)),
                reply="250 2.0.0 ok" if outcome == "delivered" else "450 4.0.0 later",
                cause="" if outcome in ("delivered", "recognised") else rng.choice(CAUSES),
                client="unix",
                helo="mx.example.org",
                phases={
                    "resolve": 0.1 * slow,
                    "receive": rng.expovariate(1 / 2.0),
                    "stage": 0.4,
                    "sync": rng.expovariate(1 / 5.0) * slow,
                    "record": 1.1,
                    "publish": rng.expovariate(1 / 2.5),
                    "reply": 0.05,
                },
            )
        )
        if len(batch) == 1000 or number == rows - 1:
            history.add(batch)
            batch = []
    history.close()
