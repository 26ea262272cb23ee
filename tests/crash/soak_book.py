"""A plugin of pytest for long runs: writes down what was played, and leaves out what has passed.

campaign.py loads it. With pytest-xdist the process that hears all reports writes; all leave out the same.
"""

import os
from pathlib import Path

import pytest

from tests.crash.campaign import BOOK, Entry, entries, write
from tests.crash.tally import Tally


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what has passed."""
    passed = {entry.name for entry in entries(Path(os.environ[BOOK])) if entry.passed}
    done = [item for item in items if item.nodeid in passed]
    config.hook.pytest_deselected(items=done)
    items[:] = [item for item in items if item.nodeid not in passed]


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Write down a test that has come to its end, or did not get to its beginning."""
    is_over = report.when == "call" or report.outcome == "failed"
    if not is_over or report.outcome == "skipped" or "PYTEST_XDIST_WORKER" in os.environ:
        return
    tallies = [value for name, value in report.user_properties if name == "tally"]
    assert all(isinstance(value, dict) for value in tallies)
    tally = sum((Tally(**value) for value in tallies), Tally()) if tallies else None  # type: ignore[arg-type]  # of JSON
    name = report.nodeid.partition("@")[0]  # pytest-xdist appends the group
    write(Path(os.environ[BOOK]), Entry(name, report.passed, report.duration, tally))
