"""Whether Postfix reaches the server: the socket's path and mode, and what the server says."""

import errno
import grp
import os
import pwd
import stat
from collections.abc import Iterator
from itertools import chain

from lmtpd.cli.doctor.delivery import routes_to_us
from lmtpd.cli.doctor.findings import Finding, command, critical, setting, warning
from lmtpd.cli.doctor.postfix import Postfix
from lmtpd.cli.doctor.probe import Heard, Place, probe
from lmtpd.config import Config, TcpListener, UnixListener

START = "systemctl start lmtpd"
RELOAD = "systemctl reload lmtpd"


def check_reach(config: Config, postfix: Postfix | None) -> Iterator[Finding]:
    """Talk to every listener."""
    for listener in config.listen or _handed_over(postfix):
        place = _place(config, postfix, listener)
        heard = probe(place, hostname=config.hostname, recipient=config.postmaster)
        if heard.error:
            yield _unreached(config, listener, place, heard.error)
        else:
            yield from _judged(config, listener, heard)


def _handed_over(postfix: Postfix | None) -> Iterator[UnixListener | TcpListener]:
    """Without [[listen]] systemd holds the sockets: take those that Postfix is told to talk to, each once."""
    seen = set()
    for route in postfix.routes() if postfix is not None else ():
        if str(route) not in seen:
            seen.add(str(route))
            yield (
                UnixListener(unix=route.path)
                if route.path
                else TcpListener.model_construct(tcp=(route.host, route.port))
            )


def _place(config: Config, postfix: Postfix | None, listener: UnixListener | TcpListener) -> Place:
    user = (postfix.get("mail_owner") or "postfix") if postfix is not None and os.geteuid() == 0 else ""
    if isinstance(listener, TcpListener):
        return Place(address=(listener.host.replace("0.0.0.0", "127.0.0.1"), listener.port), user=user)  # noqa: S104
    if user and postfix is not None:
        for route in chain(*routes_to_us(config, postfix)):
            if os.path.realpath(route.path) == os.path.realpath(listener.unix) and route.service.chroot:
                inside = "/" + os.path.relpath(
                    os.path.realpath(listener.unix), os.path.realpath(postfix.queue)
                )
                return Place(path=inside, root=postfix.queue, user=user)
    return Place(path=listener.unix, user=user)


def _unreached(config: Config, listener: UnixListener | TcpListener, place: Place, error: int) -> Finding:
    if error == errno.EACCES and isinstance(listener, UnixListener):
        return _closed(config, listener, place.user)
    if error == errno.ENOENT:
        return critical("server.socket", f"{listener} does not exist: the server is not running", START)
    if error == errno.ECONNREFUSED:
        return critical("server.socket", f"nobody serves {listener}: the server is not running", START)
    why = os.strerror(error) if error > 0 else "the conversation broke"
    return critical("server.socket", f"{listener} cannot be reached: {why}", START)


def _closed(config: Config, listener: UnixListener, user: str) -> Finding:
    """Find what on the way to the socket is closed to user."""
    who = user or pwd.getpwuid(os.geteuid()).pw_name
    entry = pwd.getpwnam(who)
    groups = {entry.pw_gid, *(group.gr_gid for group in grp.getgrall() if who in group.gr_mem)}
    directory = "/"
    for part in os.path.dirname(listener.unix).split("/")[1:]:
        directory = os.path.join(directory, part)
        if not _may(directory, entry.pw_uid, groups, stat.S_IXOTH):
            return critical(
                "server.directory",
                f"{who} may not enter {directory}, in which {listener} is",
                command("chmod", "o+x", directory),
            )
    if not config.listen:
        mend = f"systemctl edit lmtpd.socket   # [Socket]  SocketUser={who}  SocketMode=0660"
    elif who not in (listener.owner, listener.group):
        mend = setting(config, "[[listen]]", f'owner = "{who}"')
    else:
        mend = setting(config, "[[listen]]", 'mode = "0660"')
    mode = stat.S_IMODE(os.stat(listener.unix).st_mode)
    return critical("server.mode", f"{who} may not connect to {listener}, whose mode is {mode:04o}", mend)


def _may(path: str, uid: int, groups: set[int], bit: int) -> bool:
    found = os.stat(path)
    shift = 6 if found.st_uid == uid else 3 if found.st_gid in groups else 0
    return bool(found.st_mode & bit << shift)


def _judged(config: Config, listener: UnixListener | TcpListener, heard: Heard) -> Iterator[Finding]:
    greeting, lhlo, rcpt = (heard.replies.get(verb, "") for verb in ("", "LHLO", "RCPT"))
    if not greeting.startswith("220") or not lhlo.startswith("250"):
        said = (lhlo or greeting).split("\n")[0]
        yield critical("server.protocol", f'whoever serves {listener} says "{said}": it is not lmtpd', START)
        return
    octets = config.limits.message_octets
    if heard.offers.get("SIZE") not in (None, str(octets)):
        yield warning(
            "server.configuration",
            f"the server takes {heard.offers['SIZE']} octets, not the {octets} of the configuration",
            RELOAD,
        )
    if rcpt.startswith("4"):
        yield critical(
            "server.recipients",
            f"{config.postmaster} cannot be looked up: {rcpt}",
            command("lmtpd", "explain", config.postmaster, *_config_option(config)),
        )
    elif rcpt.startswith("5"):
        yield warning(
            "server.postmaster",
            f"{config.postmaster} must exist (RFC 5321 4.5.1), and does not: {rcpt}",
            setting(config, "mailboxes", 'postmaster = "YOUR@ADDRESS"'),
        )


def _config_option(config: Config) -> list[str]:
    return ["--config", str(config.file)] if config.file else []
