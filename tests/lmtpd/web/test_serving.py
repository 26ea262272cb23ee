import socket
from contextlib import closing

import pytest

from lmtpd.web.serving import hosts_of, listening_on


def test_unix_socket_is_its_owners_and_groups(tmp_path):
    path = tmp_path / "web.sock"
    with listening_on(str(path)) as listening:
        assert path.stat().st_mode & 0o777 == 0o660
        assert hosts_of(listening, ()) is None


def test_stale_socket_is_taken_over_and_a_served_one_is_not(tmp_path):
    path = str(tmp_path / "web.sock")
    listening_on(path).close()

    with listening_on(path), pytest.raises(OSError, match="in use"):
        listening_on(path)


def test_file_in_the_way_stays(tmp_path):
    path = tmp_path / "web.sock"
    path.write_text("mine")

    with pytest.raises(OSError, match="in use"):
        listening_on(str(path))
    assert path.read_text() == "mine"


def test_hosts_are_this_machines_names_with_the_port():
    with closing(listening_on(("127.0.0.1", 0))) as listening:
        port = listening.getsockname()[1]
        hosts = hosts_of(listening, ["Mail.example.org"])

    assert listening.family == socket.AF_INET
    assert hosts == {f"127.0.0.1:{port}", f"localhost:{port}", f"[::1]:{port}", "mail.example.org"}
