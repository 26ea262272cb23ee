"""Whether the machine keeps what it is given: file systems, space, clock, and the server's own process."""

import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lmtpd.cli.doctor.findings import Finding, command, critical, setting, warning
from lmtpd.config import Config

LOW, EMPTY = 0.10, 0.02
CLOCK_S = 60.0
# Nothing runs before it was written.
OLDEST_CLOCK = 1_735_689_600  # 2025-01-01

_SHARING = frozenset({"xfs", "btrfs", "bcachefs"})
_VOLATILE = {"tmpfs", "ramfs"}
_REMOTE = re.compile(r"nfs|cifs|smb|9p|ceph|fuse\.|gluster|ocfs|gfs|lustre")


@dataclass(frozen=True, slots=True)
class Mount:
    """A file system where it is mounted."""

    point: str
    kind: str
    options: frozenset[str]
    source: str = ""

    @property
    def may_share(self) -> bool:
        """Whether files can have blocks in common there."""
        return self.kind in _SHARING


def check_machine(config: Config, newest_at: float) -> Iterator[Finding]:
    """Look at everything below the mailboxes and the state.  newest_at: of all that was written down."""
    places = {"state": config.state}
    if config.mailboxes.path is not None:
        places["mailboxes"] = config.mailboxes.path.root
    mounts = read_mounts()
    for place, path in places.items():
        if (mount := mount_of(path, mounts)) is not None:
            yield from judge_mount(config, place, path, mount)
        yield from _space(place, path)
    yield from judge_clock(time.time(), newest_at)
    yield from _preload()


def read_mounts() -> list[Mount]:
    """Read /proc/self/mountinfo; a later mount hides an earlier one of the same place."""
    mounts = []
    for line in Path("/proc/self/mountinfo").read_text(errors="replace").splitlines():
        before, _, behind = line.partition(" - ")
        kind, source, options = behind.split(" ", 2)
        fields = before.split(" ")
        point = re.sub(r"\\(\d{3})", lambda code: chr(int(code[1], 8)), fields[4])
        mounts.append(Mount(point, kind, frozenset([*fields[5].split(","), *options.split(",")]), source))
    return mounts


def mount_of(path: str, mounts: list[Mount]) -> Mount | None:
    """Find the file system that a path is on."""
    real = os.path.realpath(path)
    above = [each for each in mounts if (real + "/").startswith(each.point.rstrip("/") + "/")]
    return max(reversed(above), key=lambda mount: len(mount.point), default=None)


def judge_mount(config: Config, place: str, path: str, mount: Mount) -> Iterator[Finding]:
    """Say what a file system cannot keep."""
    elsewhere = (
        setting(config, "top level", 'state = "/var/lib/lmtpd"')
        if place == "state"
        else setting(config, "mailboxes", 'path = "/srv/mail/{domain}/{user}"')
    )
    if mount.kind in _VOLATILE:
        yield critical("disk.volatile", f"{path} ({place}) is {mount.kind}: a power cut loses it", elsewhere)
    elif mount.kind == "overlay":
        yield warning(
            "disk.overlay",
            f"{path} ({place}) is in a container's own layer, which goes with the container",
            command("docker", "run", "--volume", f"{path}:{path}", "..."),
        )
    elif _REMOTE.match(mount.kind) and place == "state":
        yield critical(
            "disk.remote",
            f"{path} (state) is on {mount.kind}, which cannot share SQLite's log among processes",
            elsewhere,
        )
    yield from _judge_options(place, mount)
    if place == "mailboxes" and config.delivery.single_instance == "share" and not mount.may_share:
        yield warning(
            "disk.sharing",
            f"{path} (mailboxes) is {mount.kind}, which cannot share blocks: each copy takes its own",
            setting(config, "delivery", 'single_instance = "link"'),
        )


def _judge_options(place: str, mount: Mount) -> Iterator[Finding]:
    if mount.options & {"nobarrier", "barrier=0"}:
        yield critical(
            "disk.barrier",
            f"{mount.point} ({place}) is mounted without barriers: a power cut loses what was synced",
            command("mount", "-o", "remount,barrier=1", mount.point),
        )
    if "data=writeback" in mount.options:
        yield warning(
            "disk.writeback",
            f"{mount.point} ({place}) is mounted with data=writeback: a power cut may leave old blocks",
            command("tune2fs", "-o", "journal_data_ordered", mount.source),
        )
    if "ro" in mount.options:
        yield critical(
            "disk.read_only",
            f"{mount.point} ({place}) is mounted read-only: mail is deferred",
            command("mount", "-o", "remount,rw", mount.point),
        )
    if "soft" in mount.options and mount.kind.startswith("nfs"):
        yield critical(
            "disk.soft",
            f"{mount.point} ({place}) is mounted soft: writes may be lost while the file server is away",
            command("mount", "-o", "remount,hard", mount.point),
        )


def _space(place: str, path: str) -> Iterator[Finding]:
    try:
        found = os.statvfs(path)
    except OSError:
        return  # that it does not exist is found elsewhere
    for key, free, all_ in (
        ("space", found.f_bavail, found.f_blocks),
        ("inodes", found.f_favail, found.f_files),
    ):
        if all_:
            yield from judge_space(key, place, path, free / all_)


def judge_space(key: str, place: str, path: str, ratio: float) -> Iterator[Finding]:
    """Say that little is free."""
    if ratio < LOW:
        make = critical if ratio < EMPTY else warning
        inodes = "--inodes " if key == "inodes" else ""
        yield make(
            f"disk.{key}",
            f"{ratio:.1%} of the {key} of {path} ({place}) is free",
            f"du {inodes}-x -h -d 3 {path} | sort -h | tail -n 20   # shows where it is",
        )


def judge_clock(now: float, newest_at: float) -> Iterator[Finding]:
    """Say that the clock is behind what was written down before."""
    mend = "timedatectl set-ntp true"
    if now < OLDEST_CLOCK:
        yield critical("clock", f"the clock says {time.strftime('%Y-%m-%d', time.gmtime(now))}", mend)
    elif newest_at > now + CLOCK_S:
        yield warning(
            "clock",
            f"the clock is {newest_at - now:.0f} s behind the newest delivery that was written down",
            mend,
        )


def _preload() -> Iterator[Finding]:
    try:
        text = Path("/etc/ld.so.preload").read_text(errors="replace")
    except OSError:
        return
    if "eatmydata" in text:
        yield critical(
            "disk.eatmydata",
            "/etc/ld.so.preload loads libeatmydata: nothing is synced, a power cut loses mail",
            "sed -i /eatmydata/d /etc/ld.so.preload",
        )
