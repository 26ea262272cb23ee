"""A log to look at."""

import pytest

from tests.support.reports import Log


@pytest.fixture
def log():
    log = Log()
    yield log
    log.close()
