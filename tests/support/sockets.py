"""Connected pairs of real sockets, and the ways in which a client can leave."""

import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache

import trustme

from lmtpd.server.drain import Drain
from lmtpd.server.stream import Stream

TRANSPORTS = ("unix", "tcp")


def connected_pair(transport: str) -> tuple[socket.socket, socket.socket]:
    """Return the server's end and the client's."""
    if transport == "unix":
        return socket.socketpair()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname()[:2])
        server, _ = listener.accept()
    for end in (server, client):  # what was sent has arrived, on loopback
        end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return server, client


@contextmanager
def streaming(transport: str, *, idle_s: float = 5.0) -> Iterator[tuple[Stream, socket.socket, Drain]]:
    """Yield a stream, the client's end, and the drain that the stream heeds."""
    server, client = connected_pair(transport)
    drain = Drain()
    stream = Stream(server, drain=drain, idle_s=idle_s)
    try:
        yield stream, client, drain
    finally:
        stream.close()
        client.close()
        drain.close()


def reset(client: socket.socket) -> None:
    """Close as the kernel does for a program that was killed with unread input."""
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


@cache
def tls_contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Return a server's and a client's context that trust each other; the name is localhost."""
    authority = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(server)
    client = ssl.create_default_context()
    authority.configure_trust(client)
    return server, client


def tls_client(client: socket.socket, handshake_of_the_server: Callable[[], None]) -> ssl.SSLSocket:
    """Shake hands from both ends; the server's part runs in a thread meanwhile."""
    context = tls_contexts()[1]  # made before the other thread asks for its own
    thread = threading.Thread(target=handshake_of_the_server)
    thread.start()
    secured = context.wrap_socket(client, server_hostname="localhost")
    # TLS 1.3: the server's tickets come behind the handshake; they are read with the first data.
    thread.join()
    return secured
