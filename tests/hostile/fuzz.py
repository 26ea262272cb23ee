"""Fuzz a target under Atheris, which tries what reaches new code, until it is stopped or something is found.

`python -m tests.hostile.fuzz session` (or address, body) begins with the inputs in corpus/session beside this
file, and keeps new ones in run/fuzz/session, where the next run goes on. Further arguments are libFuzzer's
options: `-max_total_time=600`. An input that breaks a rule, takes many seconds or much memory is written to
run/fuzz, and the exit code is not 0. Atheris is in the extra "dev", where it has a wheel for this Python.
"""

import argparse
import importlib
import sys
from pathlib import Path
from typing import Any

from tests.support.requirements import ROOT

CORPUS = Path(__file__).resolve().parent / "corpus"
# An input takes a millisecond; but the clock goes on where a busy machine lets us wait.
LIMITS = ("-max_len=1000", "-timeout=20", "-rss_limit_mb=512", "-print_final_stats=1")


def main() -> None:
    """Fuzz; does not return."""
    parser = argparse.ArgumentParser(prog="python -m tests.hostile.fuzz", description=__doc__)
    parser.add_argument("target", choices=[path.name for path in CORPUS.iterdir() if path.is_dir()])
    parser.add_argument("--folder", type=Path, default=ROOT / "run" / "fuzz", help="for what is found")
    options, of_libfuzzer = parser.parse_known_args()
    atheris: Any = importlib.import_module("atheris")  # Any: it has no types, and is not everywhere
    with atheris.instrument_imports(include=["lmtpd", "storage", "tests.hostile"]):
        target = importlib.import_module("tests.hostile.fuzz_targets").TARGETS[options.target]
    kept = options.folder / options.target
    kept.mkdir(parents=True, exist_ok=True)
    words = CORPUS / f"{options.target}.dict"
    arguments = [sys.argv[0], *LIMITS, f"-artifact_prefix={options.folder}/{options.target}-"]
    arguments += [f"-dict={words}"] * words.exists()
    arguments += [*of_libfuzzer, str(kept), str(CORPUS / options.target)]

    def one_input(data: bytes) -> None:
        target(data)

    atheris.Setup(arguments, one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
