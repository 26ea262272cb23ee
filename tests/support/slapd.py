"""A private OpenLDAP: slapd on a unix socket and a port of the loopback interface, with StartTLS."""

import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import ldap3
import trustme

from tests.support.hanging import let_hang
from tests.support.polling import wait_for
from tests.support.postfix import public_folder
from tests.support.requirements import need, program
from tests.support.server import free_port

BASE = "dc=example,dc=org"
ADMIN = f"cn=admin,{BASE}"
PASSWORD = "secret"

_CONFIG = """\
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
include /etc/ldap/schema/nis.schema
pidfile {folder}/pid
modulepath /usr/lib/ldap
moduleload back_mdb
TLSCertificateFile {folder}/server.pem
TLSCertificateKeyFile {folder}/server.pem
TLSCACertificateFile {folder}/ca.pem
database mdb
maxsize 10485760
suffix "{base}"
rootdn "{admin}"
rootpw {password}
directory {folder}/data
dbnosync
access to * by dn.base="{admin}" write by users read by anonymous auth
"""


class Slapd:
    """A running server; see `slapd` for how to get one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.url = f"ldap://localhost:{self.port}"
        self.unix_url = f"ldapi://{quote(str(folder / 'socket'), safe='')}"
        self.ca_file = folder / "ca.pem"
        self.password_file = folder / "password"
        self._process: subprocess.Popen[bytes] | None = None

    def make(self) -> None:
        """Write its configuration, certificate and the base entry."""
        (self.folder / "data").mkdir()
        authority = trustme.CA()
        authority.cert_pem.write_to_path(str(self.ca_file))
        authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(
            str(self.folder / "server.pem")
        )
        self.password_file.write_text(PASSWORD + "\n")
        (self.folder / "slapd.conf").write_text(
            _CONFIG.format(folder=self.folder, base=BASE, admin=ADMIN, password=PASSWORD)
        )

    def start(self) -> None:
        """Start it in the foreground and return once it answers."""
        command = [program("slapd"), "-d", "0", "-f", str(self.folder / "slapd.conf"),
                   "-h", f"ldap://127.0.0.1:{self.port}/ {self.unix_url}"]  # fmt: skip
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        wait_for(self._answers, f"slapd on port {self.port}")

    def stop(self) -> None:
        """End it."""
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(20)
            self._process = None

    def pause(self) -> None:
        """Let it hang."""
        assert self._process is not None
        let_hang(self._process.pid)

    def resume(self) -> None:
        """Let it go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def add(self, name: str, classes: list[str], **attributes: object) -> None:
        """Add the entry `name` below the base; "" is the base itself."""
        connection = self._admin()
        dn = f"{name},{BASE}" if name else BASE
        assert connection.add(dn, classes, attributes), connection.result
        connection.unbind()

    def _admin(self) -> ldap3.Connection:
        server = ldap3.Server("127.0.0.1", self.port, get_info=ldap3.NONE, connect_timeout=5)
        return ldap3.Connection(server, ADMIN, PASSWORD, auto_bind=True, receive_timeout=5)

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self.folder / "log").read_text()
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


@contextmanager
def slapd() -> Iterator[Slapd]:
    """Run an OpenLDAP with nothing but its base entry."""
    need("root", "slapd")
    with public_folder("slapd") as folder:
        instance = Slapd(folder)
        instance.make()
        try:
            instance.start()
            instance.add("", ["dcObject", "organization"], dc="example", o="Example")
            yield instance
        finally:
            instance.stop()
            shutil.rmtree(folder / "data")
