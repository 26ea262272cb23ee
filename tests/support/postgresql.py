"""A private PostgreSQL: a cluster of its own on a unix socket, run by the user of Debian's package."""

import pwd
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from tests.support.hanging import children_of, let_go_on, let_hang
from tests.support.polling import wait_for
from tests.support.postfix import public_folder
from tests.support.requirements import need

# It refuses to run as root; Debian's package makes this user.
OWNER = "postgres"
_ROOT = Path("/usr/lib/postgresql")


class Postgresql:
    """A running cluster; see `postgresql` for how to get one."""

    def __init__(self, folder: Path, programs: Path) -> None:
        self.folder = folder
        self.url = f"postgresql:///postgres?host={folder}&user={OWNER}"
        self._programs = programs
        self._process: subprocess.Popen[bytes] | None = None

    def make(self) -> None:
        """Make the cluster; nothing is synced, it lives as long as the test."""
        shutil.chown(self.folder, OWNER, OWNER)
        self._run("initdb", "-D", str(self.folder / "data"), "-A", "trust", "-U", OWNER, "-N", "-E", "UTF8")

    def start(self) -> None:
        """Start it and return once it answers."""
        settings = (
            "fsync=off",
            "listen_addresses=",
            f"unix_socket_directories={self.folder}",
            "shared_buffers=1MB",
        )
        command = [str(self._programs / "postgres"), "-D", str(self.folder / "data")]
        for setting in settings:
            command += ["-c", setting]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                user=OWNER, group=OWNER, cwd=self.folder,
            )  # fmt: skip
        wait_for(self._answers, f"PostgreSQL in {self.folder}")

    def stop(self) -> None:
        """End it at once, connections included."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait(20)
            self._process = None

    def pause(self) -> None:
        """Let it and all its children hang."""
        let_hang(self._pid)  # before they are looked up: it makes no more of them then
        for pid in children_of(self._pid):
            let_hang(pid)

    def resume(self) -> None:
        """Let them go on."""
        for pid in (*children_of(self._pid), self._pid):
            let_go_on(pid)

    def execute(self, *statements: str) -> None:
        """Run statements as its administrator."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement.encode())

    def ask_for_password(self, role: str, password: str) -> None:
        """Make a role that has to give one."""
        self.execute(f"CREATE ROLE {role} LOGIN PASSWORD '{password}'")
        rules = self.folder / "data/pg_hba.conf"
        rules.write_text(f"local all {role} scram-sha-256\n{rules.read_text()}")
        self.execute("SELECT pg_reload_conf()")
        wait_for(lambda: not self._lets_in(f"{role}:wrong"), f"the rule for {role}")

    def url_of(self, role: str, password: str) -> str:
        """Return the URL of a role."""
        return f"postgresql://{role}:{password}@/postgres?host={self.folder}"

    def _lets_in(self, who: str) -> bool:
        try:
            psycopg.connect(self.url_of(*who.split(":")), connect_timeout=5).close()
        except psycopg.OperationalError:
            return False
        return True

    @property
    def _pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self.folder / "log").read_text()
        try:
            psycopg.connect(self.url, connect_timeout=5).close()
        except psycopg.OperationalError:
            return False
        return True

    def _run(self, program: str, *arguments: str) -> None:
        subprocess.run(
            [str(self._programs / program), *arguments], check=True, capture_output=True, timeout=60,
            user=OWNER, group=OWNER, cwd=self.folder,
        )  # fmt: skip


@contextmanager
def postgresql() -> Iterator[Postgresql]:
    """Run a PostgreSQL with an empty database."""
    need("root")
    programs = sorted(_ROOT.glob("*/bin"), key=lambda path: int(path.parent.name))
    if not programs or not _has_owner():
        need("postgresql")
    with public_folder("postgresql") as folder:
        instance = Postgresql(folder, programs[-1])
        instance.make()
        try:
            instance.start()
            yield instance
        finally:
            instance.stop()


def _has_owner() -> bool:
    try:
        pwd.getpwnam(OWNER)
    except KeyError:
        return False
    return True
