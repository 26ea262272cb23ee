"""Listen, on this machine only, and run the application."""

import os
import socket
import stat
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

import uvicorn

from lmtpd.web.guard import Application

MODE = 0o660


def listening_on(address: str | tuple[str, int], mode: int = MODE) -> socket.socket:
    """Listen on a path or a loopback address.  Raises OSError; EADDRINUSE where somebody is served there."""
    if isinstance(address, tuple):
        family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        return socket.create_server(address, family=family)
    _remove_stale(address)
    listening = socket.socket(socket.AF_UNIX)
    before = os.umask(0o777 & ~mode)
    try:
        listening.bind(address)
        listening.listen()
    except OSError:
        listening.close()
        raise
    finally:
        os.umask(before)
    return listening


def hosts_of(listening: socket.socket, more: Collection[str]) -> set[str] | None:
    """Return the values of Host that lead here; None: any, as no name leads to a unix socket."""
    if listening.family == socket.AF_UNIX:
        return None
    port = listening.getsockname()[1]
    names = ("127.0.0.1", "localhost", "[::1]", listening.getsockname()[0])
    return {f"{name}:{port}" for name in names} | {name.lower() for name in more}


def run(application: Application, listening: socket.socket) -> None:
    """Serve until SIGTERM or SIGINT."""
    config = uvicorn.Config(
        application,
        log_level="warning",
        server_header=False,
        limit_concurrency=64,
        timeout_graceful_shutdown=5,
    )
    with listening:
        uvicorn.Server(config).run(sockets=[listening])


def _remove_stale(path: str) -> None:
    """Remove a socket that nobody listens on."""
    with suppress(FileNotFoundError):
        if not stat.S_ISSOCK(os.stat(path).st_mode):
            return
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(path)
            except ConnectionRefusedError:
                Path(path).unlink(missing_ok=True)
