"""The certificate that TCP listeners offer with STARTTLS (RFC 3207)."""

import os
import ssl

from lmtpd.config.schema import Tls
from lmtpd.server.errors import CannotStart


def tls_context(configured: Tls | None) -> ssl.SSLContext | None:
    """Load certificate and key; None without configuration. CannotStart if they cannot be used.

    Made by the supervisor, before it drops privileges: the key is often readable by root only. Workers
    share it by the fork, so that a client can resume its session with any of them.
    """
    if configured is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2  # RFC 8996
    for path in (configured.cert, configured.key):
        try:
            with open(path, "rb"):
                pass
        except OSError as exc:  # load_cert_chain() does not say which of the two it means
            raise CannotStart(f"{path}: {exc.strerror}", os.EX_NOINPUT) from exc
    try:
        context.load_cert_chain(configured.cert, configured.key)
    except OSError as exc:
        reason = getattr(exc, "reason", None) or exc.strerror or "not PEM"
        message = f"{configured.cert}, {configured.key}: not a certificate with its key: {reason}"
        raise CannotStart(message, os.EX_CONFIG) from exc
    return context
