"""What every request passes, and what every answer carries: who may ask, how, and what a browser may load.

A page of another site, open in the same browser, could give its own name this machine's address (DNS
rebinding) and read what is here; the Host field tells. Scripts and styles come from this server only,
so nothing that mail has brought can run, even if a page forgot to escape it.
"""

from collections.abc import Awaitable, Callable, Collection, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]  # Any: as ASGI defines it
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

POLICY = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self';"
    b" form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = [
    (b"content-security-policy", POLICY),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
]
_OURS = {name for name, _ in HEADERS} | {b"access-control-allow-origin"}


def guarded(application: Application, hosts: Collection[str] | None) -> Application:
    """Let through what only reads and names one of hosts; None: any (a unix socket has no name)."""

    async def guard(scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(event: MutableMapping[str, Any]) -> None:
            if event["type"] == "http.response.start":
                others = [field for field in event.get("headers", []) if field[0].lower() not in _OURS]
                event = {**event, "headers": [*others, *HEADERS]}
            await send(event)

        if scope["type"] == "lifespan":
            await application(scope, receive, send)
        elif scope["type"] == "http":
            status, reason = _objection(scope, hosts)
            if status:
                await answer(send_with_headers, reason.encode(), status=status, kind=b"text/plain")
            else:
                await application(scope, receive, send_with_headers)

    return guard


async def answer(
    send: Send, body: bytes, *, status: int = 200, kind: bytes = b"text/html; charset=utf-8"
) -> None:
    """Send a whole answer."""
    headers = [(b"content-type", kind), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _objection(scope: Scope, hosts: Collection[str] | None) -> tuple[int, str]:
    if scope["method"] not in ("GET", "HEAD"):
        return 405, "lmtpd web only shows: GET and HEAD are allowed.\n"
    given = [value.decode("latin-1").lower() for name, value in scope["headers"] if name == b"host"]
    if hosts is not None and (len(given) != 1 or given[0] not in hosts):
        return 421, f"This name is not served here; use http://{min(hosts)}/\n"
    return 0, ""
