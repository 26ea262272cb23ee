"""Unix listeners: who may connect, and whose file is removed."""

import grp
import os
import pwd
import socket
import stat
from pathlib import Path

import pytest

from tests.support.listening import connects, failure, unix

ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")


def test_a_unix_socket_can_be_connected_to(tmp_path, opened):
    path = tmp_path / "lmtpd"

    (listening,) = opened(unix(path))

    assert connects(path)
    assert listening.is_unix
    assert not listening.sock.getblocking()
    assert not listening.sock.get_inheritable()


@pytest.mark.parametrize("mode", ["0660", "0600", "0666", "0777"])
def test_the_mode_is_as_configured_whatever_the_umask(tmp_path, opened, mode):
    before = os.umask(0o077)
    try:
        opened(unix(tmp_path / "lmtpd", mode=mode))
        assert os.umask(0o077) == 0o077  # and the umask is as it was
    finally:
        os.umask(before)

    assert stat.S_IMODE((tmp_path / "lmtpd").lstat().st_mode) == int(mode, 8)


def test_nobody_can_connect_before_owner_and_mode_are_right(tmp_path, opened, monkeypatch):
    path = tmp_path / "lmtpd"
    seen = []
    monkeypatch.setattr(os, "chown", lambda *_, **__: seen.append(connects(path)))

    opened(unix(path, owner=pwd.getpwuid(os.getuid()).pw_name))

    assert seen == [False]


@ROOT_ONLY
def test_the_socket_belongs_to_owner_and_group(tmp_path, opened):
    opened(unix(tmp_path / "lmtpd", owner="nobody", group="nogroup"))

    found = (tmp_path / "lmtpd").lstat()
    assert (found.st_uid, found.st_gid) == (pwd.getpwnam("nobody").pw_uid, grp.getgrnam("nogroup").gr_gid)


def test_a_path_of_107_octets_is_served_and_a_longer_one_is_refused_by_the_configuration(tmp_path, opened):
    path = tmp_path / ("x" * (107 - len(os.fsencode(tmp_path)) - 1))

    opened(unix(path))

    assert connects(path)
    with pytest.raises(ValueError, match="107 octets"):
        unix(Path(f"{path}x"))


def test_a_stale_socket_is_taken_over(tmp_path, opened):
    path = tmp_path / "lmtpd"
    with socket.socket(socket.AF_UNIX) as left_behind:
        left_behind.bind(str(path))
        left_behind.listen()

    opened(unix(path))

    assert connects(path)


def test_a_served_socket_is_left_alone(tmp_path, opened):
    path = tmp_path / "lmtpd"
    opened(unix(path))

    error = failure(unix(path))

    assert "another process serves" in str(error)
    assert error.code == os.EX_CANTCREAT
    assert connects(path)


def test_a_served_socket_with_a_full_backlog_is_left_alone(tmp_path):
    path = tmp_path / "lmtpd"
    with socket.socket(socket.AF_UNIX) as busy, socket.socket(socket.AF_UNIX) as waiting:
        busy.bind(str(path))
        busy.listen(0)
        waiting.connect(str(path))

        assert "another process serves" in str(failure(unix(path)))


def test_a_socket_of_another_kind_is_left_alone(tmp_path):
    path = tmp_path / "log"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as syslog:
        syslog.bind(str(path))

        assert "cannot tell" in str(failure(unix(path)))
        assert path.is_socket()


@pytest.mark.parametrize("kind", ["file", "directory", "link"])
def test_what_is_not_a_socket_is_left_alone(tmp_path, kind):
    path = tmp_path / "lmtpd"
    match kind:
        case "file":
            path.write_text("precious")
        case "directory":
            path.mkdir()
        case _:
            path.symlink_to("nowhere")

    error = failure(unix(path))

    assert "not a socket" in str(error)
    assert os.path.lexists(path)


def test_a_socket_that_appeared_while_the_stale_one_was_examined_is_left_alone(tmp_path, opened, monkeypatch):
    path = tmp_path / "lmtpd"
    with socket.socket(socket.AF_UNIX) as left_behind:
        left_behind.bind(str(path))
    connect_ex = socket.socket.connect_ex

    class Racing(socket.socket):
        def connect_ex(self, address):
            error = connect_ex(self, address)
            path.unlink()
            keep = path.with_name("inode")  # so that the newcomer cannot get the old inode's number
            keep.touch()
            monkeypatch.setattr(socket, "socket", real)
            opened(unix(path))
            return error

    real = socket.socket
    monkeypatch.setattr(socket, "socket", Racing)

    error = failure(unix(path))

    assert "in use" in str(error)
    assert connects(path)


@pytest.mark.parametrize(
    "below, words",
    [("missing/lmtpd", "does not exist"), ("file/lmtpd", "is not a directory")],
)
def test_a_directory_that_cannot_hold_the_socket_is_named(tmp_path, below, words):
    (tmp_path / "file").touch()

    error = failure(unix(tmp_path / below))

    assert words in str(error)
    assert str((tmp_path / below).parent) in str(error)
    assert error.code == os.EX_CANTCREAT


def test_no_permission_is_said_so(tmp_path, monkeypatch):
    def refuse(self, address):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(socket.socket, "bind", refuse)

    assert failure(unix(tmp_path / "lmtpd")).code == os.EX_NOPERM


def test_a_socket_that_cannot_be_given_away_is_not_left_behind(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "chown", refuse)

    error = failure(unix(tmp_path / "lmtpd", owner="nobody", group="nogroup"))

    assert "only root can give the socket to nobody:nogroup" in str(error)
    assert error.code == os.EX_NOPERM
    assert not (tmp_path / "lmtpd").exists()


def test_an_owner_that_has_gone_since_the_start_is_named(tmp_path, monkeypatch):
    wanted = unix(tmp_path / "lmtpd", owner="nobody")

    def forget(name):
        raise KeyError(f"getpwnam(): name not found: {name!r}")

    monkeypatch.setattr(pwd, "getpwnam", forget)

    error = failure(wanted)

    assert "nobody" in str(error)
    assert error.code == os.EX_NOUSER


def test_a_socket_that_is_gone_before_it_got_its_owner_is_said_so(tmp_path, monkeypatch):
    path = tmp_path / "lmtpd"
    bind = socket.socket.bind

    def bind_and_lose(self, address):
        bind(self, address)
        path.unlink()

    monkeypatch.setattr(socket.socket, "bind", bind_and_lose)

    assert failure(unix(path)).code == os.EX_OSERR


def test_a_file_put_in_the_place_of_the_new_socket_is_not_given_away(tmp_path, monkeypatch):
    path = tmp_path / "lmtpd"
    bind = socket.socket.bind

    def bind_and_lose(self, address):
        bind(self, address)
        path.unlink()
        path.write_text("bait")

    monkeypatch.setattr(socket.socket, "bind", bind_and_lose)

    error = failure(unix(path, owner=pwd.getpwuid(os.getuid()).pw_name))

    assert "something else" in str(error)
    assert path.read_text() == "bait"


# -- the end of a listener


def test_our_file_is_removed_at_the_end(tmp_path, opened):
    (listening,) = opened(unix(tmp_path / "lmtpd"))

    listening.remove()

    assert not (tmp_path / "lmtpd").exists()


def test_a_file_that_is_not_ours_any_more_stays(tmp_path, opened):
    path = tmp_path / "lmtpd"
    (old,) = opened(unix(path))
    path.rename(tmp_path / "aside")
    opened(unix(path))

    old.remove()

    assert connects(path)


def test_removing_twice_or_nothing_is_fine(tmp_path, opened):
    (listening,) = opened(unix(tmp_path / "lmtpd"))
    (tmp_path / "lmtpd").unlink()

    listening.remove()
    listening.remove()
