"""What a machine cannot keep."""

import pytest

from lmtpd.cli.doctor import machine
from lmtpd.cli.doctor.machine import Mount, judge_clock, judge_mount, judge_space, mount_of, read_mounts
from lmtpd.config import load
from tests.support.configs import MAILBOXES, setting

CONFIG = load(None, [MAILBOXES])


def judged(place="mailboxes", kind="ext4", options="rw", source="/dev/vda"):
    mount = Mount("/srv", kind, frozenset(options.split(",")), source)
    return [
        (each.key, each.health.name, each.mend) for each in judge_mount(CONFIG, place, "/srv/mail", mount)
    ]


@pytest.mark.parametrize("kind", ["ext4", "xfs", "btrfs", "zfs"])
def test_usual_file_system_is_fine(kind):
    assert judged(kind=kind, options="rw,relatime,discard") == []


@pytest.mark.parametrize("kind, is_fine", [("xfs", True), ("btrfs", True), ("ext4", False), ("nfs4", False)])
def test_blocks_can_be_shared_or_not(kind, is_fine):
    config = load(None, [MAILBOXES, setting("delivery.single_instance=share")])
    mount = Mount("/srv", kind, frozenset({"rw"}), "/dev/vda")

    keys = [each.key for each in judge_mount(config, "mailboxes", "/srv/mail", mount)]

    assert keys == ([] if is_fine else ["disk.sharing"])


@pytest.mark.parametrize(
    "kind, options, expected",
    [
        (
            "tmpfs",
            "rw",
            ("disk.volatile", "CRITICAL", 'path = "/srv/mail/{domain}/{user}"   # [mailboxes] in lmtpd.toml'),
        ),
        ("overlay", "rw", ("disk.overlay", "WARNING", "docker run --volume /srv/mail:/srv/mail ...")),
        ("ext4", "rw,nobarrier", ("disk.barrier", "CRITICAL", "mount -o remount,barrier=1 /srv")),
        ("ext4", "rw,barrier=0", ("disk.barrier", "CRITICAL", "mount -o remount,barrier=1 /srv")),
        (
            "ext4",
            "rw,data=writeback",
            ("disk.writeback", "WARNING", "tune2fs -o journal_data_ordered /dev/vda"),
        ),
        ("ext4", "ro", ("disk.read_only", "CRITICAL", "mount -o remount,rw /srv")),
        ("nfs4", "rw,soft", ("disk.soft", "CRITICAL", "mount -o remount,hard /srv")),
    ],
)
def test_what_loses_mail_is_said_with_its_line(kind, options, expected):
    assert judged(kind=kind, options=options) == [expected]


@pytest.mark.parametrize("kind", ["nfs", "nfs4", "cifs", "fuse.sshfs", "9p"])
def test_state_needs_a_disk_of_this_machine(kind):
    ((key, health, mend),) = judged(place="state", kind=kind)

    assert (key, health) == ("disk.remote", "CRITICAL")
    assert mend.startswith('state = "/var/lib/lmtpd"   # ')
    assert judged(place="mailboxes", kind=kind) == []


def test_file_system_is_the_innermost_and_the_latest():
    mounts = [
        Mount("/", "ext4", frozenset()),
        Mount("/srv", "xfs", frozenset()),
        Mount("/srv/mail", "tmpfs", frozenset()),
        Mount("/srv", "btrfs", frozenset()),
    ]

    kinds = [mount_of(path, mounts) for path in ("/srv/mail/x", "/srv/mailbox", "/srv", "/etc")]

    assert [mount.kind if mount else None for mount in kinds] == ["tmpfs", "btrfs", "btrfs", "ext4"]


def test_this_machine_has_mounts():
    mount = mount_of("/proc/self", read_mounts())

    assert mount is not None
    assert mount.kind == "proc"


def test_names_of_mounts_are_unescaped(tmp_path, monkeypatch):
    line = r"36 35 98:0 / /mnt/a\040b rw,noatime master:1 - ext4 /dev/sda1 rw,errors=continue"
    (tmp_path / "mountinfo").write_text(line + "\n")
    monkeypatch.setattr(machine, "Path", lambda _: tmp_path / "mountinfo")

    (mount,) = read_mounts()

    assert mount == Mount("/mnt/a b", "ext4", frozenset({"rw", "noatime", "errors=continue"}), "/dev/sda1")


@pytest.mark.parametrize(
    "key, ratio, health", [("space", 0.1, None), ("space", 0.099, "WARNING"), ("inodes", 0.019, "CRITICAL")]
)
def test_space_and_inodes(key, ratio, health):
    found = list(judge_space(key, "state", "/var/lib/lmtpd", ratio))

    assert [each.health.name for each in found] == ([health] if health else [])
    assert all(each.key == f"disk.{key}" and each.mend.startswith("du ") for each in found)
    assert all(("--inodes" in each.mend) == (key == "inodes") for each in found)


@pytest.mark.parametrize(
    "now, newest_at, health",
    [
        (1.8e9, 1.8e9 + 60, None),
        (1.8e9, 1.8e9 + 61, "WARNING"),
        (1.8e9, 0.0, None),
        (0.0, 0.0, "CRITICAL"),
    ],
)
def test_clock(now, newest_at, health):
    found = list(judge_clock(now, newest_at))

    assert [(each.health.name, each.mend) for each in found] == (
        [(health, "timedatectl set-ntp true")] if health else []
    )
