"""Listeners as the configuration would have them, and what a client finds there."""

import socket
from pathlib import Path

import pytest

from lmtpd.config import TcpListener, UnixListener
from lmtpd.server.listeners import ListenError, open_listeners


def unix(path: Path, **settings: object) -> UnixListener:
    """Make a unix listener; settings are owner, group and mode."""
    return UnixListener.model_validate({"unix": str(path), **settings})


def tcp(address: str) -> TcpListener:
    """Make a TCP listener from HOST:PORT."""
    return TcpListener.model_validate({"tcp": address})


def connects(path: Path) -> bool:
    """Tell whether somebody listens on the unix socket."""
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(str(path)) == 0


def failure(*wanted: UnixListener | TcpListener) -> ListenError:
    """Return the error of opening them, which is one line."""
    with pytest.raises(ListenError) as caught:
        open_listeners(wanted)
    assert "\n" not in str(caught.value)
    return caught.value
