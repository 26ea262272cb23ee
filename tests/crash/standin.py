"""A stand-in for the server: the smallest deliverer that keeps the guarantee, and broken kinds of it.

It takes the same command line as `lmtpd serve`. The crash machinery is proven on it: the honest one must
pass everywhere, each broken one must be caught. One connection at a time, no timeouts.

Its ledger is a folder: for each delivery a file, named by the SHA-256 of sender, recipient and body, that
holds the final file's name.
"""

import argparse
import hashlib
import os
import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path

BROKEN = (
    "no-file-sync",
    "no-directory-sync",
    "reply-before-sync",
    "no-record",
    "record-after-rename",
    "confirmed-at-once",
    "one-reply-less",
)


def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("command", choices=["serve"])
    parser.add_argument("--listen")
    parser.add_argument("--mailboxes")
    parser.add_argument("--state", type=Path)
    parser.add_argument("--workers")
    parser.add_argument("--create", action="store_true")
    parser.add_argument("--broken", choices=BROKEN)
    options = parser.parse_args()
    os.umask(0o077)
    options.state.mkdir(parents=True, exist_ok=True)
    _sync(options.state.parent)
    path = options.listen.removeprefix("unix:")
    Path(path).unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        while True:
            with listener.accept()[0] as connection:
                try:
                    _Session(connection, options).serve()
                except OSError:
                    continue


class _Session:
    def __init__(self, connection: socket.socket, options: argparse.Namespace) -> None:
        self._connection = connection
        self._file = connection.makefile("rb")
        self._options = options
        self._sender = ""
        self._recipients: list[str] = []
        self._unconfirmed: list[Path] = []

    def serve(self) -> None:
        self._say("220 standin LMTP")
        for line in self._file:
            verb = line[:4].upper()
            if verb == b"LHLO":
                self._say("250-standin\r\n250-ENHANCEDSTATUSCODES\r\n250 PIPELINING")
            elif verb == b"MAIL":
                self._confirm()
                self._sender, self._recipients = _path(line), []
                self._say("250 2.1.0 OK")
            elif verb == b"RCPT":
                self._recipients.append(_path(line))
                self._say("250 2.1.5 OK")
            elif verb == b"DATA":
                self._say("354 Go on")
                for reply in list(self._deliver(self._read_body())):
                    self._say(reply)
            elif verb == b"QUIT":
                self._say("221 2.0.0 Bye")
                self._connection.shutdown(socket.SHUT_WR)
                # A client that closes over unread replies shows as a reset.
                if not self._connection.recv(1):
                    self._confirm()
                return
            else:
                self._say("250 2.0.0 OK")

    def _confirm(self) -> None:
        """The client has read our replies: a retry can be none any more."""
        for record in self._unconfirmed:
            record.unlink(missing_ok=True)
        self._unconfirmed.clear()

    def _say(self, text: str) -> None:
        self._connection.sendall(text.encode() + b"\r\n")

    def _read_body(self) -> bytes:
        lines = []
        while (line := self._file.readline()) != b".\r\n":
            if not line:
                raise OSError("lost the client")
            lines.append(line[1:] if line.startswith(b".") else line)
        return b"".join(lines).replace(b"\r\n", b"\n")

    # ---- delivery -------------------------------------------------------------------------------

    def _deliver(self, body: bytes) -> Iterator[str]:
        if self._options.broken == "reply-before-sync":
            for recipient in self._recipients:
                self._say(f"250 2.0.0 <{recipient}> Saved")
        for recipient in self._recipients:
            try:
                self._store(recipient, body)
                reply = f"250 2.0.0 <{recipient}> Saved"
            except OSError as exc:
                reply = f"451 4.3.0 {exc.strerror}"
            if self._options.broken != "reply-before-sync" and not (
                self._options.broken == "one-reply-less" and recipient is self._recipients[-1]
            ):
                yield reply

    def _store(self, recipient: str, body: bytes) -> None:
        broken = self._options.broken
        maildir = self._maildir(recipient)
        key = hashlib.sha256(f"{self._sender}\0{recipient}\0".encode() + body).hexdigest()
        record = self._options.state / key
        if broken != "confirmed-at-once":
            self._unconfirmed.append(record)
        if record.exists():
            name = record.read_text()
            if (maildir / "new" / name).exists() or list((maildir / "cur").glob(f"{name}*")):
                _sync(maildir / "new")
                return
            (maildir / "tmp" / name).unlink(missing_ok=True)
        name = (
            f"{int(time.time())}.M{time.time_ns() % 10**9 // 1000}P{os.getpid()}Q1R{key[:8]}.standin,S=1,W=1"
        )
        header = f"Return-Path: <{self._sender}>\nDelivered-To: {recipient}\nReceived: from x\n\tby standin\n"
        _write(maildir / "tmp" / name, header.encode() + body, sync=broken != "no-file-sync")
        if broken not in {"no-record", "record-after-rename"}:
            self._note(record, name)
        os.rename(maildir / "tmp" / name, maildir / "new" / name)
        if broken == "record-after-rename":
            self._note(record, name)
        if broken != "no-directory-sync":
            _sync(maildir / "new")
        if broken == "confirmed-at-once":
            record.unlink()

    def _note(self, record: Path, name: str) -> None:
        """Make a record durable; a half-written one must never be found under its name."""
        _write(record.with_suffix(".new"), name.encode(), sync=True)
        os.rename(record.with_suffix(".new"), record)
        _sync(record.parent)

    def _maildir(self, recipient: str) -> Path:
        user, _, domain = recipient.partition("@")
        maildir = Path(self._options.mailboxes.format(user=user, domain=domain))
        for part in ("new", "cur", "tmp"):
            (maildir / part).mkdir(parents=True, exist_ok=True)
        for folder in (maildir, maildir.parent, maildir.parent.parent):
            _sync(folder)
        for leftover in (maildir / "tmp").glob("*.standin,*"):
            leftover.unlink()  # an earlier life's: in this one nothing is under way yet
        return maildir


def _write(path: Path, data: bytes, *, sync: bool) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        os.write(fd, data)
        if sync:
            os.fsync(fd)
    finally:
        os.close(fd)


def _sync(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _path(line: bytes) -> str:
    found = re.search(rb"<(.*?)>", line)
    assert found
    return found[1].decode()


if __name__ == "__main__":
    main()
