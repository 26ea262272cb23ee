"""Units for systemd that run a script's command line at night."""

import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import click

# The options whose values are paths, or the template of one.
_PATHS = frozenset({"--config", "--mailboxes", "--resume", "--state", "--users-from"})

_UNITS = """\
# /etc/systemd/system/{name}.service
[Unit]
Description={what}

[Service]
Type=oneshot
ExecStart={command}
Nice=10
IOSchedulingClass=idle

# /etc/systemd/system/{name}.timer
[Unit]
Description={what}, every night

[Timer]
OnCalendar=*-*-* 03:30:00
RandomizedDelaySec=1h
Persistent=true

[Install]
WantedBy=timers.target

# Then: systemctl daemon-reload && systemctl enable --now {name}.timer
"""


def units(name: str, what: str, arguments: Sequence[str]) -> str:
    """Write a service and its timer; the arguments are those of the script."""
    program = shutil.which(name) or str(Path(sys.executable).with_name(name))
    command = " ".join(quoted(each) for each in (program, *arguments))
    return _UNITS.format(name=name, what=what, command=command)


def absolute(command: click.Command, arguments: Sequence[str]) -> list[str]:
    """Write the paths among a command's arguments absolutely: a service starts elsewhere. UsageError."""
    options = {name: each for each in command.params for name in each.opts if isinstance(each, click.Option)}
    written: list[str] = []
    left = iter(arguments)
    for argument in left:
        name, separator, value = argument.partition("=")
        option = options.get(name)
        if not argument.startswith("-"):
            written.append(os.path.abspath(argument))
        elif option is None or option.is_flag:
            written.append(argument)
        else:
            value = value if separator else next(left)
            written += [name, _absolute(name, value) if name in _PATHS else value]
    return written


def _absolute(name: str, path: str) -> str:
    if path == "-":
        raise click.UsageError(f"{name} -: a service has no standard input; give a file")
    return os.path.abspath(path)


def quoted(argument: str) -> str:
    """Write an argument as systemd reads it (systemd.service(5), COMMAND LINES)."""
    text = argument.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    text = text.replace("\n", "\\n").replace("\t", "\\t")
    return text if text and not set(text) & set(" '\"\\;") else f'"{text}"'
