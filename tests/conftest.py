"""What holds for every test."""

import pytest
from hypothesis import HealthCheck, settings

# Several test processes share few cores: how long one example takes says nothing about the code.
settings.register_profile(
    "lmtpd", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("lmtpd")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let all tests marked `serial` share one process of pytest-xdist: they never run beside each other."""
    for item in items:
        if item.get_closest_marker("serial"):
            item.add_marker(pytest.mark.xdist_group("serial"))


def pytest_configure(config: pytest.Config) -> None:
    """See in complete runs whether the crash tests play as much as is promised."""
    config.pluginmanager.import_plugin("tests.crash.promised")
