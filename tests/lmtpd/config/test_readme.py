"""The configurations that README shows for recipients and folders can be loaded as they stand there."""

import re
import tomllib

import pytest

from tests.support.configs import from_text
from tests.support.requirements import ROOT

_CHAPTERS = re.compile(r"^## Recipients\n(.*?)^## Quota\n", re.MULTILINE | re.DOTALL)
_BLOCK = re.compile(r"^```toml\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks() -> list[str]:
    chapters = _CHAPTERS.search((ROOT / "README.md").read_text())
    assert chapters is not None
    return _BLOCK.findall(chapters[1])


# A block that begins with an address is a file of users.
@pytest.mark.parametrize("block", [block for block in blocks() if not block.startswith('["')])
def test_configurations_can_be_loaded(tmp_path, block):
    from_text(tmp_path, block)


def test_there_is_an_example_for_every_source():
    shown = {table["source"] for block in blocks() for table in tomllib.loads(block).get("recipients", [])}

    assert shown == {"maildirs", "passwd", "file", "sql", "ldap", "postfix", "socketmap"}
