"""Configurations for tests: from TOML text and flags."""

from pathlib import Path

import pytest

from lmtpd.config import Config, ConfigError, Need, Override, load

MAILBOXES = Override("--mailboxes", "/srv/mail/{domain}/{user}")


def setting(text: str) -> Override:
    """Make a `--set`."""
    return Override("--set", text)


def from_text(
    tmp_path: Path, text: str, *overrides: Override, needs: frozenset[Need] = frozenset()
) -> Config:
    """Load text as the file lmtpd.toml."""
    file = tmp_path / "lmtpd.toml"
    file.write_text(text)
    return load(file, overrides, needs=needs)


def problems_of(
    tmp_path: Path, text: str, *overrides: Override, needs: frozenset[Need] = frozenset()
) -> list[str]:
    """Return the problems as printed, the file's folder left out."""
    with pytest.raises(ConfigError) as caught:
        from_text(tmp_path, text, *overrides, needs=needs)
    return [str(problem).replace(f"{tmp_path}/", "") for problem in caught.value.problems]
