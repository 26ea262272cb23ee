"""What `lmtpd doctor` finds: a problem, and the line that mends it."""

import shlex
from dataclasses import dataclass

from lmtpd.cli.health import Health
from lmtpd.config import Config


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it should be."""

    key: str  # what was looked at: the group, and its name
    health: Health
    problem: str
    mend: str  # a command for a root shell, or a line of our configuration with its place as a comment


def critical(key: str, problem: str, mend: str) -> Finding:
    """Make a finding that costs or delays mail."""
    return Finding(key, Health.CRITICAL, problem, mend)


def warning(key: str, problem: str, mend: str) -> Finding:
    """Make a finding that may cost something."""
    return Finding(key, Health.WARNING, problem, mend)


def setting(config: Config, table: str, line: str) -> str:
    """Write a line of the configuration file."""
    place = f"[{table}]" if not table.startswith("[") else table
    return f"{line}   # {place} in {config.file or 'lmtpd.toml'}"


def command(*words: str) -> str:
    """Write a command as a shell reads it."""
    return shlex.join(words)
