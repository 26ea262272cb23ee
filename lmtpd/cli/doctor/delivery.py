"""Whether Postfix's settings and ours go together.  Pure: from two configurations to findings."""

import os
from collections.abc import Iterator, Sequence

from lmtpd.cli.doctor.findings import Finding, critical, setting, warning
from lmtpd.cli.doctor.postfix import Postfix, Route
from lmtpd.config import Config, TcpListener, UnixListener

DATA_DONE_S = 600  # Postfix's default
CONCURRENCY = 5  # below it, messages hardly ever share a sync
_OFFERED = {"8BITMIME", "SIZE", "PIPELINING", "ENHANCEDSTATUSCODES", "SMTPUTF8", "CHUNKING", "XFORWARD"}


def check_delivery(config: Config, postfix: Postfix) -> Iterator[Finding]:
    """Find what does not go together."""
    ours, others = routes_to_us(config, postfix)
    if config.listen:  # else they are systemd's, and where they are is not known here
        yield from _reach(config, postfix, ours, others)
    yield from _held(postfix, [*ours, *others])
    for route in ours or others:
        yield from _sizes(config, postfix, route)
        yield from _times(config, postfix, route)
        yield from _load(config, postfix, route)
        yield from _dialogue(config, postfix, route)
    yield from _addresses(config, postfix)


def routes_to_us(config: Config, postfix: Postfix) -> tuple[list[Route], list[Route]]:
    """Tell the routes that lead to our listeners from those that lead elsewhere."""
    ours: list[Route] = []
    others: list[Route] = []
    for route in postfix.routes():
        (ours if any(_leads_to(route, each) for each in config.listen) else others).append(route)
    return ours, others


def _leads_to(route: Route, listener: UnixListener | TcpListener) -> bool:
    if isinstance(listener, UnixListener):
        return bool(route.path) and os.path.realpath(route.path) == os.path.realpath(listener.unix)
    hosts = {listener.host, "127.0.0.1" if listener.host in ("0.0.0.0", "::", "localhost") else ""}  # noqa: S104
    return (
        not route.path
        and route.port == listener.port
        and route.host.replace("localhost", "127.0.0.1") in hosts
    )


def _reach(
    config: Config, postfix: Postfix, ours: Sequence[Route], others: Sequence[Route]
) -> Iterator[Finding]:
    for parameter, name in postfix.transports_without_service():
        yield critical(
            "postfix.service",
            f"{parameter} names the client {name}, which master.cf does not have: mail is deferred",
            postfix.add_service(name),
        )
    if ours:
        return
    listeners = [str(each) for each in config.listen]
    if not others:
        yield critical(
            "postfix.transport",
            f"no transport leads to lmtpd, which listens at {', '.join(listeners)}",
            postfix.edit("virtual_transport", _target(config, postfix)),
        )
    for route in others:
        yield from _misled(config, postfix, route, listeners)


def _misled(config: Config, postfix: Postfix, route: Route, listeners: Sequence[str]) -> Iterator[Finding]:
    unix = [each for each in config.listen if isinstance(each, UnixListener)]
    written = route.value.partition("unix:")[2]
    outside = [each for each in unix if os.path.realpath(each.unix) == os.path.realpath(written)]
    if route.path and route.service.chroot and outside:
        yield critical(
            "postfix.chroot",
            f"{route.parameter} = {route.value}: the client lives in {postfix.queue} (chroot) and so looks"
            f" for the socket at {route.path}",
            postfix.edit_service(route.service, "chroot", "n"),
        )
        return
    mend = f'unix = "{route.path}"' if route.path else f'tcp = "{route.host}:{route.port}"'
    yield critical(
        "postfix.socket",
        f"{route.parameter} = {route.value} leads to {route}; lmtpd listens at"
        f" {', '.join(listeners) or 'no address'}",
        setting(config, "[[listen]]", mend),
    )


def _target(config: Config, postfix: Postfix) -> str:
    for listener in config.listen:
        if isinstance(listener, UnixListener):
            below = os.path.relpath(listener.unix, postfix.queue)
            return f"lmtp:unix:{listener.unix if below.startswith('..') else below}"
        return f"lmtp:inet:{str(listener).removeprefix('tcp:')}"
    return "lmtp:unix:private/lmtpd"


def _held(postfix: Postfix, routes: Sequence[Route]) -> Iterator[Finding]:
    held = postfix.get("defer_transports").replace(",", " ").split()
    for name in {route.service.name for route in routes} & set(held):
        left = " ".join(each for each in held if each != name)
        yield critical(
            "postfix.defer_transports",
            f"mail for {name} is kept in the queue, by defer_transports",
            postfix.edit("defer_transports", left).rstrip(),
        )


def _sizes(config: Config, postfix: Postfix, route: Route) -> Iterator[Finding]:
    length = postfix.number("lmtp_line_length_limit", route.service)
    if length:
        yield warning(
            "postfix.lmtp_line_length_limit",
            f"Postfix breaks lines at {length} octets, which changes the message and breaks DKIM signatures",
            postfix.edit("lmtp_line_length_limit", "0"),
        )
    size, limit = postfix.number("message_size_limit"), config.limits.message_octets
    if not 0 < size <= limit:
        yield critical(
            "postfix.message_size_limit",
            f"Postfix accepts messages of {f'{size} octets' if size else 'any size'}, lmtpd {limit}: what is"
            " larger bounces",
            postfix.edit("message_size_limit", str(limit)),
        )
    recipients = postfix.number(f"{route.service.name}_destination_recipient_limit", route.service)
    if recipients > config.limits.recipients or not recipients:
        yield warning(
            "postfix.recipient_limit",
            f"Postfix sends {recipients or 'any number of'} recipients at once, lmtpd takes"
            f" {config.limits.recipients}: the rest is deferred each time",
            postfix.edit(f"{route.service.name}_destination_recipient_limit", str(config.limits.recipients)),
        )


def _times(config: Config, postfix: Postfix, route: Route) -> Iterator[Finding]:
    done, deadline = postfix.seconds("lmtp_data_done_timeout", route.service), config.delivery.deadline_s
    if done <= deadline:
        yield critical(
            "postfix.lmtp_data_done_timeout",
            f"Postfix waits {done} s for the replies, lmtpd may take {deadline} s: stored mail comes again",
            postfix.edit("lmtp_data_done_timeout", f"{max(DATA_DONE_S, deadline + 60)}s"),
        )
    reused, idle = postfix.seconds("lmtp_connection_cache_time_limit", route.service), config.limits.idle_s
    if reused >= idle:
        yield warning(
            "postfix.lmtp_connection_cache_time_limit",
            f"Postfix re-uses connections after {reused} s, lmtpd ends idle ones after {idle} s",
            postfix.edit("lmtp_connection_cache_time_limit", "2s"),
        )


def _load(config: Config, postfix: Postfix, route: Route) -> Iterator[Finding]:
    name = f"{route.service.name}_destination_concurrency_limit"
    wanted, limit = postfix.number(name, route.service), config.server.connections
    processes = route.service.process_limit
    if wanted > limit:
        yield critical(
            "postfix.concurrency",
            f"Postfix opens up to {wanted} connections, lmtpd serves {limit}: mail above that is deferred",
            setting(config, "server", f"connections = {2 * wanted}"),
        )
    if 0 < wanted < CONCURRENCY:
        yield warning(
            "postfix.concurrency",
            f"Postfix opens {wanted} connections at most, so that messages seldom share a sync of the disk",
            postfix.edit(name, "50"),
        )
    if 0 < processes < wanted:
        yield warning(
            "postfix.process_limit",
            f"master.cf allows {processes} processes of {route.service.name}, {name} asks for {wanted}",
            postfix.edit_service(route.service, "process_limit", str(2 * wanted)),
        )


def _dialogue(config: Config, postfix: Postfix, route: Route) -> Iterator[Finding]:
    if not postfix.switched_on("lmtp_send_xforward_command", route.service):
        yield warning(
            "postfix.lmtp_send_xforward_command",
            "queue ids and clients are not told to lmtpd, so that log and trace know less",
            postfix.edit("lmtp_send_xforward_command", "yes"),
        )
    discarded = postfix.get("lmtp_discard_lhlo_keywords", route.service).upper().replace(",", " ").split()
    if lost := _OFFERED & set(discarded):
        yield warning(
            "postfix.lmtp_discard_lhlo_keywords",
            f"Postfix does not use what lmtpd offers: {', '.join(sorted(lost))}",
            postfix.edit("lmtp_discard_lhlo_keywords", "").rstrip(),
        )
    if postfix.get("lmtp_tls_security_level", route.service) == "encrypt" and (
        route.path or config.tls is None
    ):
        yield critical(
            "postfix.lmtp_tls_security_level",
            f"Postfix insists on TLS, which lmtpd does not offer at {route}",
            postfix.edit("lmtp_tls_security_level", "may"),
        )


def _addresses(config: Config, postfix: Postfix) -> Iterator[Finding]:
    theirs, ours = postfix.get("recipient_delimiter"), config.mailboxes.delimiters
    if missing := "".join(each for each in theirs if each not in ours):
        yield warning(
            "postfix.recipient_delimiter",
            f'Postfix splits addresses at "{missing}", lmtpd does not: user{missing[0]}detail is unknown',
            setting(config, "mailboxes", f'delimiters = "{ours}{missing}"'),
        )
    elif ours and not theirs:
        yield warning(
            "postfix.recipient_delimiter",
            f'lmtpd splits addresses at "{ours}", Postfix does not: its maps do not know user{ours[0]}detail',
            postfix.edit("recipient_delimiter", ours),
        )
    if not postfix.switched_on("smtputf8_enable"):
        yield warning(
            "postfix.smtputf8_enable",
            "Postfix refuses international addresses, which lmtpd can deliver to",
            postfix.edit("smtputf8_enable", "yes"),
        )
    if not postfix.switched_on("enable_original_recipient"):
        yield warning(
            "postfix.enable_original_recipient",
            "Postfix forgets who a message was for before aliases, and drops recipients that become equal",
            postfix.edit("enable_original_recipient", "yes"),
        )
