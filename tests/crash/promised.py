"""A plugin of pytest: a run of all crash tests that plays fewer points than are promised has failed.

A selection may play as few as it likes. Where file systems cannot be mounted power cuts are skipped, which is
told, and under CI fails; of them nothing is asked then. With pytest-xdist the process that hears all judges.
"""

from pathlib import Path, PurePath

import pytest

FOLDER = PurePath("tests/crash")
# What is played: the test file that plays it, and how many points at least.
PROMISED = {"kill points": ("test_kill_points.py", 500), "power cuts": ("test_power_cuts.py", 300)}


class Promises:
    """Adds up what the tests note (`note` in conftest.py)."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._played = dict.fromkeys(PROMISED, 0)
        self._skipped: set[str] = set()
        self._broken: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Add the points of one test."""
        path = PurePath(report.nodeid.partition("::")[0])
        for name, (file, _) in PROMISED.items():
            if path != FOLDER / file:
                continue
            if report.skipped:
                self._skipped.add(name)
            if report.when == "call":
                tallies = [value for key, value in report.user_properties if key == "tally"]
                self._played[name] += sum(tally["points"] for tally in tallies if isinstance(tally, dict))

    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """Fail a complete run that was none."""
        has_ended = exitstatus in {pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED}
        if not has_ended or session.shouldstop or session.shouldfail or not self._is_complete():
            return
        self._broken = [
            f"{self._played[name]:,} {name} were played of the {least:,} that are promised"
            for name, (_, least) in PROMISED.items()
            if name not in self._skipped and self._played[name] < least
        ]
        if self._broken:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Say so."""
        if self._broken:
            terminalreporter.section("promises", sep="=", red=True)
        for words in self._broken:
            terminalreporter.write_line(words, red=True)

    def _is_complete(self) -> bool:
        """Tell whether all crash tests were asked for, and none was left out."""
        option = self._config.option
        left_out = (
            "keyword",
            "markexpr",
            "deselect",
            "ignore",
            "ignore_glob",
            "lf",
            "stepwise",
            "collectonly",
        )
        if any(getattr(option, name, None) for name in left_out):
            return False
        folder = self._config.rootpath / FOLDER
        places = [self._config.invocation_params.dir / Path(argument) for argument in self._config.args]
        return any(folder == place or place in folder.parents for place in places)


def pytest_configure(config: pytest.Config) -> None:
    """Judge in the process that hears all."""
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Promises(config), "promises of the crash tests")
