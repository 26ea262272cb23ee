"""What is wrong with sockets that only shows on the machine, or when all of them are looked at together."""

import os
import stat
from collections.abc import Iterator
from itertools import combinations

from lmtpd.config.keys import LISTENERS
from lmtpd.config.places import KeyPath
from lmtpd.config.problems import Finding
from lmtpd.config.recipients import SocketmapSource
from lmtpd.config.schema import Config, Listener, UnixListener

# Empty after every boot: systemd (RuntimeDirectory) or another service makes its directories there.
_MADE_AT_START = "/run"
_EVERYWHERE = {"0.0.0.0": 4, "::": 6}  # noqa: S104 the address as it is written, nothing is bound


def socket_mistakes(config: Config) -> Iterator[Finding]:
    """Find sockets that cannot be made or would be their own client."""
    for path, socket in _unix_sockets(config):
        directory = os.path.dirname(socket)
        if os.path.isdir(directory):
            if os.path.lexists(socket) and not stat.S_ISSOCK(os.lstat(socket).st_mode):
                yield Finding(path, "is there already, and is no socket: name a path that is free", socket)
        elif os.path.lexists(directory) or not _is_made_at_start(directory, config.state):
            yield Finding(
                path, f"there is no directory {directory}: make it, or name one that exists", socket
            )
    yield from _one_place_twice(config)
    yield from _asks_itself(config)


def socket_warnings(config: Config) -> Iterator[tuple[KeyPath, str]]:
    """Say which sockets have no directory yet."""
    for path, socket in _unix_sockets(config):
        directory = os.path.dirname(socket)
        if not os.path.lexists(directory) and _is_made_at_start(directory, ""):
            yield path, f"there is no directory {directory} now: something must make it before the start"


def _is_made_at_start(directory: str, state: str) -> bool:
    return directory == state or (os.path.realpath(directory) + "/").startswith(_MADE_AT_START + "/")


def _unix_sockets(config: Config) -> Iterator[tuple[KeyPath, str]]:
    for path, listener in _listeners(config):
        if isinstance(listener, UnixListener):
            yield (*path, "unix"), listener.unix
    if config.metrics.serve and config.metrics.unix is not None:
        yield ("metrics", "unix"), config.metrics.unix
    for index, source in enumerate(config.recipients):
        if isinstance(source, SocketmapSource) and isinstance(source.socket, str):
            yield ("recipients", index, "socket"), source.socket


def _listeners(config: Config) -> Iterator[tuple[KeyPath, Listener]]:
    for name in LISTENERS:
        for index, listener in enumerate(getattr(config, name)):
            yield (name, index), listener


def _one_place_twice(config: Config) -> Iterator[Finding]:
    """Find what is one place under two names; the same name twice is found without the machine."""
    places = [(path, str(each), _place(each)) for path, each in _listeners(config)]
    if (address := config.metrics_address) is not None:
        path: KeyPath = ("metrics", "tcp" if isinstance(address, tuple) else "unix")
        shown = address if isinstance(address, str) else str(config.metrics)
        places.append((path, shown, _of_address(address)))
    for (_, one, place), (path, other, same) in combinations(places, 2):
        if one != other and _overlap(place, same):
            yield Finding(path, f"is the same socket as {one}: each needs one of its own", other)


def _place(listener: Listener) -> str | tuple[str, int]:
    return _of_address(listener.unix if isinstance(listener, UnixListener) else listener.tcp)


def _of_address(address: str | tuple[str, int]) -> str | tuple[str, int]:
    if isinstance(address, str):
        return os.path.join(os.path.realpath(os.path.dirname(address)), os.path.basename(address))
    host, port = address
    return "127.0.0.1" if host == "localhost" else host, port


def _overlap(one: str | tuple[str, int], other: str | tuple[str, int]) -> bool:
    if isinstance(one, str) or isinstance(other, str):
        return one == other
    if one[1] != other[1] or one[1] == 0:  # 0: the kernel chooses, each time another
        return False
    families = {6 if ":" in host else 4 for host, _ in (one, other)}
    return one[0] == other[0] or any(families == {_EVERYWHERE.get(host)} for host, _ in (one, other))


def _asks_itself(config: Config) -> Iterator[Finding]:
    own = {_place(each) for each in config.sockets}
    for index, source in enumerate(config.recipients):
        if isinstance(source, SocketmapSource) and _of_address(source.socket) in own:
            yield Finding(
                ("recipients", index, "socket"),
                "is a socket of this server, which would ask itself: name another server's",
                source.shown("socket"),
            )
