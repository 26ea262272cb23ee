"""`python -m tests.bench`: lmtpd beside Dovecot LMTP, Postfix's virtual(8) and the bare file system.

Every server gets fresh folders on the same file system for each sample, and the systems take turns, so that
what the machine does meanwhile meets all of them. Needs root (for Postfix and Dovecot), cc and strace.
"""

import argparse
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType

from rich.console import Console

from tests.bench.bench import Bench
from tests.bench.chart import write_chart
from tests.bench.postfix_queue import queue
from tests.bench.programs import compile_programs
from tests.bench.results import DOVECOT, FLOOR, OURS, SYSTEMS, VIRTUAL, as_json, busy_share, machine
from tests.bench.rows_costs import latencies, memories, processor_time, system_calls
from tests.bench.rows_growth import large_mailbox, long_history, many_connections, many_users
from tests.bench.rows_rates import rates
from tests.bench.rows_scripts import memory_is_flat, names_and_status
from tests.bench.servers import is_lmtpd_ready
from tests.bench.table import WIDTH, print_table
from tests.support.requirements import ROOT, is_there

ROWS: dict[str, tuple[Callable[[Bench], None], ...]] = {
    **{letter: rates(letter) for letter in "abcd"},
    "e": (queue,),
    "f": (processor_time, system_calls),
    "g": (memories,),
    "h": (latencies,),
    "i": (large_mailbox, many_users, long_history, many_connections),
    "s": (names_and_status, memory_is_flat),
}
FREE_OCTETS = {"full": 25 * 2**30, "quick": 5 * 2**30}
# A machine on which others work measures the others.
QUIET_SHARE = 0.1
CHART = ROOT / "docs" / "bench.svg"


def main(arguments: Sequence[str]) -> int:
    """Run the rows asked for; return 0, or 1 when one of them failed."""
    options = parse(arguments)
    if missing := [name for name in ("cc", "smtp-source", "strace") if not is_there(name)]:
        sys.stderr.write(f"not installed: {', '.join(missing)} (Debian: gcc libc6-dev, postfix, strace)\n")
        return 69
    signal.signal(signal.SIGTERM, _end_in_order)
    folder = Path(tempfile.mkdtemp(prefix="lmtpd-bench-", dir=options.folder))
    folder.chmod(0o755)  # Dovecot and Postfix are other users
    try:
        if shutil.disk_usage(folder).free < FREE_OCTETS["quick" if options.quick else "full"]:
            sys.stderr.write(f"{folder}: not enough room; --folder chooses another place\n")
            return 75
        return _run(options, folder)
    finally:
        sys.stderr.write(f"deleting {folder}\n" if not options.keep else f"kept: {folder}\n")
        if not options.keep:
            shutil.rmtree(folder, ignore_errors=True)


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rows", type=_rows, default=list(ROWS), help="letters, e.g. a,b; all by default")
    parser.add_argument("--quick", action="store_true", help="an eighth of the size, one round: is it alive?")
    parser.add_argument("--rounds", type=int, help="samples of each kind; 3 by default")
    parser.add_argument(
        "--minutes", type=float, default=25.0, help="begin no row after this time; 25 by default"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every sample there")
    parser.add_argument(
        "--chart", type=Path, metavar="FILE", help="write a picture there; a full run: docs/bench.svg"
    )
    # Not /tmp, which is often in memory, where a sync costs nothing.
    parser.add_argument(
        "--folder", type=Path, default=Path("/var/tmp"), help="where the mail goes; /var/tmp by default"
    )
    parser.add_argument("--keep", action="store_true", help="delete nothing at the end")
    options = parser.parse_args(arguments)
    options.rounds = options.rounds or (1 if options.quick else 3)
    if options.chart is None and options.rows == list(ROWS) and not options.quick:
        options.chart = CHART
    return options


def _rows(text: str) -> list[str]:
    letters = text.replace(",", "")
    if unknown := set(letters) - set(ROWS):
        raise argparse.ArgumentTypeError(f"no such row: {', '.join(sorted(unknown))}")
    return [letter for letter in ROWS if letter in letters]


def _run(options: argparse.Namespace, folder: Path) -> int:
    busy = busy_share()
    facts = machine(folder, busy)
    bench = Bench(folder, compile_programs(folder), _systems(), options.rounds, options.quick)
    if busy > QUIET_SHARE:
        bench.say(f"others use {busy:.0%} of the processors: these numbers will be theirs, too")
    for missing in sorted(set(SYSTEMS) - bench.systems):
        bench.say(f"{missing} cannot be measured here")
    failed = _measure(bench, options)
    console = Console(width=None if sys.stdout.isatty() else WIDTH)
    print_table(console, facts, bench.lines)
    if options.json:
        options.json.write_text(json.dumps(as_json(facts, bench.lines), indent=1) + "\n")
    if options.chart:
        write_chart(options.chart, facts, bench.lines)
    return 1 if failed else 0


def _measure(bench: Bench, options: argparse.Namespace) -> bool:
    """Take all measurements asked for; return whether one failed."""
    end = time.monotonic() + options.minutes * 60
    failed = False
    for letter in options.rows:
        if letter == "i" and not bench.has(OURS):
            continue  # ours against ourselves
        for measure in ROWS[letter]:
            if time.monotonic() > end:
                bench.say(f"({letter}) left out: {options.minutes:g} minutes are over")
                continue
            try:
                measure(bench)
            except Exception as exc:  # noqa: BLE001  What fails must not take the others' numbers along.
                failed = True
                bench.say(f"({letter}) FAILED: {exc!r}\n" + "\n".join(getattr(exc, "__notes__", ())))
    return failed


def _systems() -> frozenset[str]:
    found = {FLOOR}
    if is_lmtpd_ready():
        found.add(OURS)
    if os.geteuid() == 0:
        found |= {VIRTUAL} if is_there("postfix") else set()
        found |= {DOVECOT} if is_there("dovecot") else set()
    return frozenset(found)


def _end_in_order(number: int, _frame: FrameType | None) -> None:
    """Leave through every `finally`, so that no server stays behind."""
    sys.exit(128 + number)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
