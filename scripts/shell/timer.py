"""Units for systemd that run a script's command line at night."""

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

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


def quoted(argument: str) -> str:
    """Write an argument as systemd reads it (systemd.service(5), COMMAND LINES)."""
    text = argument.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    text = text.replace("\n", "\\n").replace("\t", "\\t")
    return text if text and not set(text) & set(" '\"\\;") else f'"{text}"'
