"""The whole configuration: one TOML file and the flags over it, as frozen types."""

from lmtpd.config.checks import Need, warnings
from lmtpd.config.effective import effective
from lmtpd.config.keys import written
from lmtpd.config.layers import Override
from lmtpd.config.loading import load
from lmtpd.config.problems import ConfigError, Problem
from lmtpd.config.schema import Config, TcpListener, UnixListener
from lmtpd.config.template import Template

__all__ = [
    "Config",
    "ConfigError",
    "Need",
    "Override",
    "Problem",
    "TcpListener",
    "Template",
    "UnixListener",
    "effective",
    "load",
    "warnings",
    "written",
]
