"""A private Postfix: its own configuration, queue and log in a folder, nothing shared with the machine's.

It listens on one loopback port and hands everything to one LMTP server. Needs root, since master(8) does.
"""

import os
import pwd
import re
import shutil
import smtplib
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from tests.support.polling import Overdue, wait_for
from tests.support.requirements import need, program
from tests.support.server import free_port

# As Debian has it, but only the LMTP client is chrooted: the others would need files copied into the queue.
MASTER_CF = """\
{port} inet n - n - - smtpd
pickup unix n - n 1 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
lmtp unix - - y - - lmtp
local unix - n n - - local
scache unix - - n - 1 scache
anvil unix - - n - 1 anvil
postlog unix-dgram n - n - 1 postlogd
"""

# Every domain is a virtual one. Retries come at once, also behind a fault of Postfix's own (else a minute
# later); nothing is the machine's own, and 100 MB pass.
MAIN_CF = {
    "compatibility_level": "3.6",
    "myhostname": "postfix.example.org",
    "myorigin": "example.org",
    "mydestination": "",
    "local_recipient_maps": "",
    "alias_maps": "",
    "inet_interfaces": "loopback-only",
    "inet_protocols": "ipv4",
    "mynetworks": "127.0.0.0/8",
    "smtpd_relay_restrictions": "permit_mynetworks, reject_unauth_destination",
    "relayhost": "",
    "virtual_mailbox_domains": "static:all",
    "smtputf8_enable": "yes",
    "message_size_limit": "104857600",
    "virtual_mailbox_limit": "0",
    "mailbox_size_limit": "0",
    "address_verify_poll_delay": "1s",
    "queue_run_delay": "1s",
    "minimal_backoff_time": "1s",
    "maximal_backoff_time": "1s",
    "transport_retry_time": "1s",
    "service_throttle_time": "1s",
    "in_flow_delay": "0s",
    "biff": "no",
    "append_dot_mydomain": "no",
}


# In the order in which a message goes through them.
_STATES = ("maildrop", "incoming", "active", "deferred", "hold")

T = TypeVar("T")


class Postfix:
    """A running instance; see `postfix` for how to get one."""

    def __init__(self, folder: Path, settings: Mapping[str, str]) -> None:
        self.config = folder / "etc"
        self.queue = folder / "queue"
        self.log_file = folder / "maillog"
        self.port = free_port()
        self._data = folder / "data"
        self._settings = {
            **MAIN_CF,
            "queue_directory": str(self.queue),
            "data_directory": str(self._data),
            "maillog_file": str(self.log_file),
            "maillog_file_prefixes": str(folder),
            **settings,
        }

    # ---- life -----------------------------------------------------------------------------------

    def start(self) -> None:
        """Write the configuration, start and wait for the SMTP port."""
        for path in (self.config, self.queue, self._data):
            path.mkdir()
        user = pwd.getpwnam("postfix")
        os.chown(self._data, user.pw_uid, user.pw_gid)
        (self.config / "master.cf").write_text(MASTER_CF.format(port=f"127.0.0.1:{self.port}"))
        self._write_main_cf()
        # For programs that know nothing of this instance.
        wrapper = self.config / "sendmail"
        wrapper.write_text(f'#!/bin/sh\nexec {program("sendmail")} -C {self.config} "$@"\n')
        wrapper.chmod(0o755)
        self._command("postfix", "start")
        wait_for(self._answers, "220 from smtpd")

    def stop(self) -> None:
        """Stop it and wait until the master process is gone."""
        self._command("postfix", "stop")

    def set(self, **settings: str) -> None:
        """Change parameters of main.cf and make every process take them up."""
        self._settings.update(settings)
        self._write_main_cf()
        self._command("postfix", "reload")
        wait_for(self._answers, "220 from smtpd")

    def _write_main_cf(self) -> None:
        lines = (f"{name} = {value}\n" for name, value in self._settings.items())
        # postfix(1) and its daemons may read at any moment: never half a file.
        new = self.config / "main.cf.new"
        new.write_text("".join(lines))
        # Postfix waits for a file that was changed this second to settle; this one is complete.
        os.utime(new, (time.time() - 60,) * 2)
        new.rename(self.config / "main.cf")

    def _answers(self) -> bool:
        try:
            with smtplib.SMTP("127.0.0.1", self.port, timeout=10):
                return True
        except OSError:
            return False

    # ---- mail -----------------------------------------------------------------------------------

    def smtp(
        self,
        sender: str,
        recipients: Sequence[str],
        message: bytes,
        *,
        utf8: bool = False,
        mail: Sequence[str] = (),
        rcpt: Sequence[str] = (),
    ) -> str:
        """Hand a message (CRLF lines) to smtpd; return its queue id. mail and rcpt: further parameters."""
        options = ["BODY=8BITMIME", *(["SMTPUTF8"] if utf8 else []), *mail]
        with smtplib.SMTP("127.0.0.1", self.port, timeout=60) as client:
            client.ehlo("client.example.org")
            client.command_encoding = "utf-8" if utf8 else "ascii"
            for code, text in (
                client.mail(sender, options),
                *(client.rcpt(recipient, list(rcpt)) for recipient in recipients),
                client.data(message),
            ):
                assert code == 250, f"Postfix said {code} {text!r}"
            found = re.search(rb"queued as (\w+)", text)
            assert found, text
            return found[1].decode()

    def ask(self, recipient: str, *, size: int | None = None) -> tuple[int, str]:
        """Return what smtpd answers to RCPT, for a message of the size announced, if any."""
        with smtplib.SMTP("127.0.0.1", self.port, timeout=60) as client:
            client.ehlo("client.example.org")
            client.mail("sender@example.org", [] if size is None else [f"SIZE={size}"])
            code, text = client.rcpt(recipient)
            return code, text.decode()

    def sendmail(self, sender: str, recipients: Sequence[str], message: bytes) -> None:
        """Hand a message (LF lines) to sendmail(1), as a program on the machine does."""
        self._command("sendmail", "-i", "-f", sender, "--", *recipients, stdin=message)

    def probe(self, *recipients: str) -> None:
        """Ask for a delivery report without a delivery: `sendmail -bv`."""
        self._command("sendmail", "-bv", "-f", "prober@example.org", "--", *recipients)

    @contextmanager
    def holding(self) -> Iterator[None]:
        """Keep what smtpd takes meanwhile in the queue, untouched; then let all of it go."""
        self.set(smtpd_data_restrictions="check_client_access static:HOLD")
        try:
            yield
        finally:
            self.set(smtpd_data_restrictions="")
            self._command("postsuper", "-H", "ALL")
            self.flush()

    def flush(self) -> None:
        """Try everything that waits in the queue now."""
        self._command("postqueue", "-f")

    def queued(self) -> list[str]:
        """Return the ids of all messages in the queue, in whatever state."""
        listing = self._command("postqueue", "-j").splitlines()
        return re.findall(r'"queue_id": "(\w+)"', "\n".join(listing))

    def wait_until_empty(self, *, deadline_s: float = 60.0) -> None:
        """Return when everything has been delivered, bounced or deleted."""
        self._wait_for(self._is_empty, "an empty queue", deadline_s=deadline_s, every_s=0.05)

    def wait_for_log(self, pattern: str, *, deadline_s: float = 20.0) -> re.Match[str]:
        """Return the first match in the log, when it is there."""
        compiled = re.compile(pattern)
        return self._wait_for(
            lambda: compiled.search(self.log), f"{pattern} in the log", deadline_s=deadline_s
        )

    def _wait_for(
        self, condition: Callable[[], T | None], what: str, *, deadline_s: float, every_s: float = 0.01
    ) -> T:
        try:
            return wait_for(condition, what, deadline_s=deadline_s, every_s=every_s)
        except Overdue as exc:
            exc.add_note(f"--- Postfix's queue: {self.queued()}\n--- its log\n{self.log[-3000:]}")
            raise

    def content(self, queue_id: str) -> bytes:
        """Return a queued message's header and body, which is what the LMTP client will send, with LF."""
        return self._run("postcat", "-bh", "-q", queue_id)

    def _is_empty(self) -> bool:
        """Look into the queue's folders: a listing by postqueue would cost a process each time.

        Twice, since a message that moves from deferred/ back to active/ can be missed once.
        """
        return not (self.files_in(*_STATES) or self.files_in(*_STATES))

    def files_in(self, *states: str) -> list[str]:
        """Return the names of the queue files in those states, e.g. "deferred"."""
        return [path.name for state in states for path in (self.queue / state).rglob("*") if path.is_file()]

    @property
    def log(self) -> str:
        """The whole log so far."""
        return self.log_file.read_text(errors="replace") if self.log_file.exists() else ""

    def deliveries(self, queue_id: str) -> list[str]:
        """Return the log's `status=` line of each recipient of a message."""
        lines = re.findall(rf"^.*/lmtp\[\d+\]: {queue_id}: (to=.*)$", self.log, re.MULTILINE)
        return [line for line in lines if "status=" in line]

    # ---- programs -------------------------------------------------------------------------------

    def _command(self, name: str, *arguments: str, stdin: bytes = b"") -> str:
        return self._run(name, *arguments, stdin=stdin).decode()

    def _run(self, name: str, *arguments: str, stdin: bytes = b"") -> bytes:
        where = "-C" if name == "sendmail" else "-c"
        done = subprocess.run(
            [program(name), where, str(self.config), *arguments],
            input=stdin,
            capture_output=True,
            check=False,
            timeout=120,
        )
        assert done.returncode == 0, f"{name} {arguments}: {done.stderr.decode()}\n{self.log[-2000:]}"
        return done.stdout


@contextmanager
def postfix(**settings: str) -> Iterator[Postfix]:
    """Run a Postfix that is responsible for every domain; say at least its `virtual_transport`."""
    need("root", "postfix")
    with public_folder("postfix") as folder:
        instance = Postfix(folder, settings)
        try:
            instance.start()
            yield instance
        except BaseException as exc:
            exc.add_note(f"--- Postfix's log\n{instance.log[-3000:]}")
            raise
        finally:
            instance.stop()


@contextmanager
def public_folder(purpose: str) -> Iterator[Path]:
    """Make a folder that other users can enter, unlike pytest's, with a short path for sockets."""
    folder = Path(tempfile.mkdtemp(prefix=f"lmtpd-{purpose}-"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)
