"""Every broken build is caught, each by the cheapest check that can, and that check passes the unbroken one.

The table TEETH says which; the checks are in trials.py, the builds in broken.py.
"""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.crash import trials
from tests.crash.broken import BUILDS, SYNCED_AS_A_WHOLE, UNBROKEN
from tests.crash.nursery import Nursery
from tests.crash.shim import Shim
from tests.crash.trials import Check, eatmydata, on_trial, order

pytestmark = pytest.mark.crash

# Build -> the check that catches it, and how its complaint begins.
TEETH: dict[str, tuple[Check, str]] = {
    "no file sync": (order, "a file is published though it is not synced"),
    "no file system sync": (order, "a file is published though it is not synced"),
    "no directory sync": (order, "250 before the sync of new/"),
    "no parent sync": (order, "250, and the entry of "),
    "ledger not synced: NORMAL": (order, "a file is published though its record is not durable"),
    "ledger not synced: OFF": (order, "a file is published though its record is not durable"),
    "record after rename": (order, "a file is published though it has no record in the ledger"),
    "reply before sync": (order, "250 before the sync of new/"),
    "ignored close error": (trials.close_error, "EIO at close was answered [250]"),
    "retried sync": (trials.sync_error, "EIO at fsync was answered [250]"),
    "non-exclusive create": (order, "a file is created over what may be there"),
    "rename that replaces": (order, "a rename may replace another message"),
    "deleting foreign tmp files": (trials.foreign_files, "I7 foreign file touched"),
    "short writes taken for whole": (trials.short_write, "I1 lost"),
    "suppressing confirmed mail": (trials.same_again, "I1 lost"),
    "settled record forgotten": (trials.lost_reply, "I5 doubled"),
    "QUIT taken for a proof": (trials.lost_reply_behind_quit, "I5 doubled"),
    "recovery forgets records": (trials.kill_before_reply, "I5 doubled"),
    "no barrier": (trials.late_abort, "published for a client that had gone"),
    "barrier blind behind QUIT": (trials.late_abort_behind_quit, "published for a client that had gone"),
}
CHECKS = list(dict.fromkeys(check for check, _ in TEETH.values()))

TryOut = Callable[[Check, str], list[str]]


@pytest.fixture
def try_out(shim: Shim, lmtpd_nursery: Nursery, folder_in_memory: Path) -> TryOut:
    def run(check: Check, name: str) -> list[str]:
        with on_trial(shim, lmtpd_nursery, name, folder_in_memory) as trial:
            return check(trial)

    return run


def test_every_broken_build_has_its_check():
    assert {UNBROKEN, SYNCED_AS_A_WHOLE, *TEETH} == BUILDS.keys()


@pytest.mark.parametrize("name", TEETH)
def test_broken_build_is_caught(name: str, try_out: TryOut):
    check, complaint = TEETH[name]

    complaints = try_out(check, name)

    assert [text for text in complaints if text.startswith(complaint)], complaints
    sys.stdout.write(f"{name}: {check.__name__}: {complaints[0]}\n")  # the table, with -rP


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_unbroken_build_passes(check: Check, try_out: TryOut):
    assert try_out(check, UNBROKEN) == []


def test_file_systems_synced_as_a_whole_keep_the_order(try_out: TryOut):
    assert try_out(order, SYNCED_AS_A_WHOLE) == []


# ---- the negative control ---------------------------------------------------------------------------


def test_server_whose_syncs_never_reach_the_kernel_is_caught(shim: Shim, folder_in_memory: Path):
    """Debian's eatmydata swallows them; the shim behind it sees what is left."""
    library = eatmydata()
    environment = {**shim.environment, "LD_PRELOAD": f"{library}:{shim.environment['LD_PRELOAD']}"}

    with (
        Nursery("lmtpd", "storage", "sqlite_utils", environment=environment) as nursery,
        on_trial(shim, nursery, UNBROKEN, folder_in_memory) as trial,
    ):
        complaints = order(trial)

    first_words = {text.partition(": call")[0] for text in complaints}
    assert "a file is published though it is not synced" in first_words
    assert "250 before the sync of new/" in first_words
