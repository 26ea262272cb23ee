"""The source `postfix`: any lookup table that Postfix has, asked as `postmap -q` asks it.

One short-lived process for each key, without a shell, ended at the deadline; remembered answers make it rare.
postmap(1) ends with 1 and says nothing where the key is not in the table; where the table is at fault it
ends with 1 and says "fatal:", so only silence means "not there".
"""

import re
import subprocess
from collections.abc import Iterator

from lmtpd.recipients.entry import Entry
from lmtpd.recipients.lookup import CannotList, Question, SourceDown, SourceFaulty
from lmtpd.recipients.table_keys import Result, entry_of_result, keys_of

# postmap and the programs that it may start look for no other variable (import_environment apart).
_ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"}
# Tables that another server answers for, which may be down; all others are files of this machine.
_SERVED = ("mysql:", "pgsql:", "ldap:", "memcache:", "mongodb:", "nis:", "proxy:", "socketmap:", "tcp:")
_LASTING = re.compile(r"unsupported dictionary type|bad parameter")
_TROUBLE = re.compile(r"\b(?:fatal|error|panic): (.*)")


class PostfixLookup:
    """Asks one table, "hash:/etc/postfix/virtual" say. Thread-safe."""

    asks_for_detail = True

    def __init__(
        self,
        table: str,
        *,
        result: Result,
        timeout_s: float,
        command: str,
        config_directory: str | None = None,
    ) -> None:
        """command: the path of postmap. config_directory: where main.cf is, if not in the usual place."""
        self.name = f"postfix {table}"
        self._table = table
        self._result = result
        self._timeout_s = timeout_s
        self._command = [command, *(("-c", config_directory) if config_directory else ())]

    def find(self, question: Question) -> Entry | None:
        """Ask for the keys in their order. SourceDown, EntryError."""
        for key in keys_of(question):
            if (value := self._run("-q", key, self._table)) is not None:
                return entry_of_result(value, self._result)
        return None

    def users(self) -> Iterator[str]:
        """Yield the keys of the table, whole domains too. CannotList: of tables that cannot be gone through.

        postmap's -s is for files of keys and values (hash, btree, lmdb, cdb and so on) alone.
        """
        try:
            listed = self._run("-s", self._table)
        except SourceDown as exc:
            raise CannotList(str(exc)) from exc
        for line in (listed or "").split("\n"):
            if key := line.partition("\t")[0]:
                yield key

    def close(self) -> None:
        """Nothing is held."""

    def _run(self, *arguments: str) -> str | None:
        try:
            done = subprocess.run(
                [*self._command, *arguments],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=self._timeout_s,
                check=False,
                env=_ENVIRONMENT,
            )
        except subprocess.TimeoutExpired as exc:
            raise SourceDown(f"postmap does not answer within {self._timeout_s:g} s") from exc
        except OSError as exc:
            raise SourceFaulty(f"{self._command[0]} cannot be started: {exc.strerror}") from exc
        said = done.stderr.decode(errors="replace")
        trouble = _TROUBLE.search(said)
        if trouble is not None or done.returncode not in (0, 1):
            lasts = not self._table.startswith(_SERVED) or _LASTING.search(said) is not None
            raise (SourceFaulty if lasts else SourceDown)(
                trouble[1] if trouble else f"postmap ended with {done.returncode}: {said[-200:]}"
            )
        value = done.stdout.decode(errors="replace")
        return value.rstrip("\n") if done.returncode == 0 and value else None
