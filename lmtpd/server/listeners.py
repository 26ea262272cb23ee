"""Listening sockets: bind unix and TCP addresses, or take those that systemd opened for us.

The rule: nobody can connect to a unix socket before its owner and mode are right, no file is ever removed
but a socket that nobody serves, and each failure is one line for the administrator.
"""

import errno
import os
import socket
import stat
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from lmtpd.config import TcpListener, UnixListener
from lmtpd.server.errors import CannotStart

# A burst of Postfix processes must find room, as a full backlog blocks them; net.core.somaxconn caps it.
BACKLOG = 4096

Configured = UnixListener | TcpListener


class ListenError(CannotStart):
    """A listener cannot be had."""


@dataclass(slots=True)
class Listening:
    """One listening socket. file is the device and inode of the socket file that we made, if we did."""

    sock: socket.socket
    configured: Configured | None  # None: systemd gave it, the configuration does not name it
    file: tuple[int, int] | None = None

    def __str__(self) -> str:
        name = self.sock.getsockname()
        if self.is_unix:
            return f"unix:{name}"
        host, port = name[:2]
        return f"tcp:[{host}]:{port}" if ":" in host else f"tcp:{host}:{port}"

    @property
    def is_unix(self) -> bool:
        """Whether peers are local processes."""
        return self.sock.family == socket.AF_UNIX

    def close(self) -> None:
        """Close this process's copy."""
        self.sock.close()

    def remove(self) -> None:
        """Close it and remove its file, unless another program's lies there by now."""
        if self.file is not None:
            # Best effort: after privileges were dropped the directory may not be ours to write to,
            # and the next start takes a stale socket over.
            with suppress(OSError):
                path = self.sock.getsockname()
                if _identity(os.lstat(path)) == self.file:
                    os.unlink(path)
        self.close()


def open_listeners(wanted: Sequence[Configured], *, held: Sequence[Listening] = ()) -> list[Listening]:
    """Return a socket for each wanted listener: those that are held already, the others newly bound.

    Sockets from systemd that nobody names are used too. Raises ListenError; then nothing is left of what
    was bound, and held is as before.
    """
    result = [each for each in held if each.configured is None and not _is_wanted(each, wanted)]
    made: list[Listening] = []
    try:
        for configured in wanted:
            same = [each for each in held if _is_same(each, configured)]
            if not same:
                same = (
                    _bind_unix(configured) if isinstance(configured, UnixListener) else _bind_tcp(configured)
                )
                made += same
            elif isinstance(configured, UnixListener) and same[0].configured not in (configured, None):
                _own(same[0], configured, mode=configured.mode)
            result += [Listening(each.sock, configured, each.file) for each in same]
    except ListenError:
        for each in made:
            each.remove()
        raise
    return result


def _is_wanted(held: Listening, wanted: Sequence[Configured]) -> bool:
    return any(_is_same(held, configured) for configured in wanted)


def _is_same(held: Listening, configured: Configured) -> bool:
    """Tell whether held listens where configured says; owner and mode of a unix socket do not count."""
    if isinstance(configured, UnixListener):
        return held.is_unix and held.sock.getsockname() == configured.unix
    if held.configured is not None:
        return held.configured == configured
    return not held.is_unix and held.sock.getsockname() in [address for _, address in _resolve(configured)]


# -- unix


def _bind_unix(configured: UnixListener) -> list[Listening]:
    listening = Listening(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM), configured)
    try:
        _bind_file(listening.sock, configured)
        _own(listening, configured)
    except ListenError:
        listening.remove()
        raise
    # Only from here on can anybody connect.
    listening.sock.listen(BACKLOG)
    listening.sock.setblocking(False)
    return [listening]


def _bind_file(sock: socket.socket, configured: UnixListener) -> None:
    # The file is made with its final mode. A chmod() by name would be too late, and in a directory of
    # another user (private/ belongs to postfix) the name may have become another file's.
    before = os.umask(0o777 & ~configured.mode)
    try:
        try:
            sock.bind(configured.unix)
        except OSError as exc:
            if exc.errno != errno.EADDRINUSE:
                raise
            _remove_stale(configured)
            sock.bind(configured.unix)
    except OSError as exc:
        raise _unix_error(configured, exc) from exc
    finally:
        os.umask(before)


def _unix_error(configured: UnixListener, exc: OSError) -> ListenError:
    directory = os.path.dirname(configured.unix)
    match exc.errno:
        case errno.ENOENT:
            return ListenError(f"{configured}: the directory {directory} does not exist", os.EX_CANTCREAT)
        case errno.ENOTDIR:
            return ListenError(f"{configured}: {directory} is not a directory", os.EX_CANTCREAT)
        case errno.EACCES | errno.EPERM:
            return ListenError(f"{configured}: no permission to make a socket in {directory}", os.EX_NOPERM)
        case _:
            return ListenError(f"{configured}: {exc.strerror or exc}", os.EX_CANTCREAT)


def _remove_stale(configured: UnixListener) -> None:
    """Remove the socket at the path if nobody serves it; ListenError for anything else that is there."""
    path = configured.unix
    found = os.lstat(path)
    if not stat.S_ISSOCK(found.st_mode):
        raise ListenError(
            f"{configured}: there is something else at that path, not a socket", os.EX_CANTCREAT
        )
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        error = probe.connect_ex(path)
    if error in (0, errno.EAGAIN):  # EAGAIN: its backlog is full
        raise ListenError(f"{configured}: another process serves that socket", os.EX_CANTCREAT)
    if error != errno.ECONNREFUSED:
        raise ListenError(
            f"{configured}: cannot tell whether the socket there is in use: {os.strerror(error)}",
            os.EX_CANTCREAT,
        )
    # Two servers that start at the same moment: the one that is late must not remove the other's new socket.
    if _identity(os.lstat(path)) == _identity(found):
        os.unlink(path)


def _own(listening: Listening, configured: UnixListener, *, mode: int | None = None) -> None:
    """Note which file is the socket's; give it its owner, and its mode if one is given.

    By descriptor: what lies at the path now may not be what was bound.
    """
    try:
        fd = os.open(configured.unix, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            found = os.fstat(fd)
            if not stat.S_ISSOCK(found.st_mode) or listening.file not in (None, _identity(found)):
                raise ListenError(
                    f"{configured}: something else lies in the place of our socket", os.EX_OSERR
                )
            listening.file = _identity(found)
            if (configured.uid, configured.gid) != (-1, -1):
                os.chown(f"/proc/self/fd/{fd}", configured.uid, configured.gid)
            if mode is not None:
                os.chmod(f"/proc/self/fd/{fd}", mode)
        finally:
            os.close(fd)
    except KeyError as exc:
        raise ListenError(f"{configured}: {exc.args[0]}", os.EX_NOUSER) from exc
    except PermissionError as exc:
        whose = f"{configured.owner or ''}:{configured.group or ''}"
        raise ListenError(f"{configured}: only root can give the socket to {whose}", os.EX_NOPERM) from exc
    except OSError as exc:
        raise ListenError(f"{configured}: {exc.strerror}", os.EX_OSERR) from exc


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


# -- TCP


def _resolve(configured: TcpListener) -> list[tuple[socket.AddressFamily, tuple[object, ...]]]:
    """Return the addresses of a host name, each with its family: localhost may have two."""
    try:
        found = socket.getaddrinfo(
            configured.host, configured.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except OSError as exc:
        raise ListenError(f"{configured}: {exc.strerror}", os.EX_NOHOST) from exc
    return list(dict.fromkeys((family, address) for family, _, _, _, address in found))


def _bind_tcp(configured: TcpListener) -> list[Listening]:
    made: list[Listening] = []
    for family, address in _resolve(configured):
        sock = socket.socket(family, socket.SOCK_STREAM)
        made.append(Listening(sock, configured))
        try:
            _listen_tcp(sock, address)
        except OSError as exc:
            for each in made:
                each.close()
            raise _tcp_error(configured, exc) from exc
    return made


def _listen_tcp(sock: socket.socket, address: tuple[object, ...]) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    # Accepted sockets inherit these two: no system call per connection. A reply must not wait for the
    # acknowledgement of the one before it, and a peer that vanished is found some day.
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if sock.family == socket.AF_INET6:
        # "[::]" and "0.0.0.0" can both be listed, and XFORWARD's trust sees IPv4 as what it is.
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    sock.bind(address)
    sock.listen(BACKLOG)
    sock.setblocking(False)


def _tcp_error(configured: TcpListener, exc: OSError) -> ListenError:
    match exc.errno:
        case errno.EADDRINUSE:
            return ListenError(f"{configured}: another process listens there", os.EX_CANTCREAT)
        case errno.EACCES | errno.EPERM:
            return ListenError(f"{configured}: no permission for a port below 1024", os.EX_NOPERM)
        case errno.EADDRNOTAVAIL:
            return ListenError(f"{configured}: this machine does not have that address", os.EX_CANTCREAT)
        case _:
            return ListenError(f"{configured}: {exc.strerror}", os.EX_OSERR)
