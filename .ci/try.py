"""Start a server on this checkout to try it out: everything it keeps lies below ./run/."""

import os
import socket
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RUN = ROOT / "run"
HOST = "127.0.0.1"
PORT = int(os.environ.get("PORT", "2424"))
# sockaddr_un holds 108 octets, the last of them a NUL (unix(7)).
SOCKET_PATH_OCTETS = 107

ADVICE = """\
lmtpd listens on  unix:{socket}
             and  tcp:{host}:{port}        (Ctrl-C stops it)

Send it a message, from another terminal:

  python3 -c 'import smtplib; smtplib.LMTP("{host}", {port}).sendmail(
    "me@example.org", "you@example.org", "Subject: hello\\n\\nIt works.\\n")'

It will lie in    {new}/
Any other address works as well: each gets its Maildir below {mail}/
"""


def main() -> None:
    """Print how to reach the server, then become it."""
    if is_taken(HOST, PORT):
        sys.exit(f"Port {PORT} on {HOST} is taken by another program. PORT=2425 make run uses another port.")
    mail = RUN / "mail"
    mail.mkdir(parents=True, exist_ok=True)
    address = socket_path()
    print(
        ADVICE.format(
            socket=address, host=HOST, port=PORT, mail=mail, new=mail / "example.org" / "you" / "new"
        ),
        flush=True,
    )
    command = [sys.executable, "-m", "lmtpd", "serve"]
    command += ["--listen", f"unix:{address}", "--listen", f"tcp:{HOST}:{PORT}"]
    command += ["--mailboxes", f"{mail}/{{domain}}/{{user}}", "--create", "--state", str(RUN / "state")]
    os.chdir(ROOT)
    # Becoming the server, not its parent: signals and the exit code are its own.
    os.execv(command[0], command)


def socket_path() -> Path:
    """Choose the unix socket's path: in ./run/ unless the checkout lies too deep for that."""
    path = RUN / "lmtpd.sock"
    if len(os.fsencode(path)) <= SOCKET_PATH_OCTETS:
        return path
    short = Path(tempfile.gettempdir()) / f"lmtpd-{os.getuid()}"
    short.mkdir(mode=0o700, exist_ok=True)
    if short.stat().st_uid != os.getuid():
        sys.exit(f"{path} is too long for a socket ({SOCKET_PATH_OCTETS} octets), and {short} is not yours.")
    print(f"{path} is too long for a socket ({SOCKET_PATH_OCTETS} octets): using {short} for it.\n")
    return short / "lmtpd.sock"


def is_taken(host: str, port: int) -> bool:
    """Tell whether something listens there already."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return True
    return False


if __name__ == "__main__":
    main()
