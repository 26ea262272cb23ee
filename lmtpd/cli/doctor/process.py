"""The server's process: its user, its libraries, its limits."""

import os
import pwd
import re
from collections.abc import Iterator
from pathlib import Path

from lmtpd.cli.doctor.findings import Finding, command, critical, setting, warning
from lmtpd.config import Config

DESCRIPTORS_EACH = 3  # of a connection: the socket, the spool, the mailbox
DESCRIPTORS_MORE = 200


def server_pid(config: Config) -> int | None:
    """Return the running server's process id, from its lock."""
    try:
        text = Path(f"{config.ledger_path}.server").read_text()
        pid = int(text)
        os.kill(pid, 0)
    except (OSError, ValueError):
        return None
    return pid


def server_uid(config: Config) -> int:
    """Return who the server is: whose all mailboxes should be, or root."""
    if config.acts_as_recipients:
        return 0
    if config.server.run_as is not None:
        return pwd.getpwnam(config.server.run_as).pw_uid
    pid = server_pid(config)
    try:
        return os.stat(f"/proc/{pid}").st_uid if pid is not None else os.geteuid()
    except OSError:
        return os.geteuid()


def check_process(config: Config) -> Iterator[Finding]:
    """Look at the running server, if there is one."""
    pid = server_pid(config)
    if config.server.run_as is None and server_uid(config) == 0:
        yield warning(
            "server.run_as",
            "the server is root; it needs to be the owner of the mailboxes only",
            setting(config, "server", 'run_as = "vmail"'),
        )
    if config.delivery.durability != "full":
        yield warning(
            "delivery.durability",
            f"with durability {config.delivery.durability} a power cut can lose mail that was answered 250",
            setting(config, "delivery", 'durability = "full"'),
        )
    if pid is None:
        return
    try:
        maps = Path(f"/proc/{pid}/maps").read_text(errors="replace")
        limits = Path(f"/proc/{pid}/limits").read_text(errors="replace")
    except OSError:
        return  # it is another user's, and we are not root
    if "eatmydata" in maps:
        yield critical(
            "disk.eatmydata",
            "the server runs with libeatmydata: nothing is synced, a power cut loses mail",
            command("systemctl", "unset-environment", "LD_PRELOAD") + " && systemctl restart lmtpd",
        )
    found = re.search(r"Max open files +\S+ +(\d+)", limits)
    # All connections may meet in one worker.
    wanted = DESCRIPTORS_EACH * config.server.connections + DESCRIPTORS_MORE
    if found and int(found[1]) < wanted:
        yield warning(
            "server.descriptors",
            f"the server may open {found[1]} files, {config.server.connections} connections need {wanted}",
            f"LimitNOFILE={wanted}   # [Service] in lmtpd.service",
        )
