"""Several listeners at once, and the same ones again: what a reload and systemd need."""

import socket
import stat

import pytest

from lmtpd.server.listeners import ListenError, Listening, open_listeners
from tests.support.listening import connects, failure, tcp, unix


def test_one_failure_leaves_nothing_behind(tmp_path):
    failure(unix(tmp_path / "first"), unix(tmp_path / "missing" / "second"))

    assert not (tmp_path / "first").exists()


def test_what_is_held_is_kept_and_the_rest_is_new(tmp_path, opened):
    before = opened(unix(tmp_path / "kept"), unix(tmp_path / "old"), tcp("127.0.0.1:0"))

    after = opened(unix(tmp_path / "kept"), unix(tmp_path / "new"), tcp("127.0.0.1:0"), before=before)

    assert after[0].sock is before[0].sock
    assert after[0].file == before[0].file
    assert after[1].sock not in [each.sock for each in before]
    assert after[2].sock is before[2].sock


def test_a_failure_leaves_what_is_held_as_it_is(tmp_path, opened):
    before = opened(unix(tmp_path / "kept"))

    with pytest.raises(ListenError):
        opened(unix(tmp_path / "kept"), unix(tmp_path / "missing" / "second"), before=before)

    assert connects(tmp_path / "kept")


def test_a_new_mode_is_given_to_the_same_socket(tmp_path, opened):
    path = tmp_path / "lmtpd"
    before = opened(unix(path))

    (after,) = opened(unix(path, mode="0600"), before=before)

    assert after.sock is before[0].sock
    assert stat.S_IMODE(path.lstat().st_mode) == 0o600


def test_sockets_from_systemd_are_used_whether_configured_or_not(tmp_path, opened):
    with socket.socket(socket.AF_UNIX) as given, socket.create_server(("127.0.0.1", 0)) as other:
        given.bind(str(tmp_path / "given"))
        given.listen()
        port = other.getsockname()[1]
        held = [Listening(given, None), Listening(other, None)]

        first = open_listeners([unix(tmp_path / "given"), unix(tmp_path / "own")], held=held)
        second = open_listeners([tcp(f"127.0.0.1:{port}")], held=first)

        assert {each.sock for each in first} >= {given, other}
        assert len(first) == 3
        assert [each.sock for each in second] == [other]
        for listening in first:
            listening.remove()
        assert (tmp_path / "given").exists()  # systemd's file is systemd's
        assert not (tmp_path / "own").exists()
