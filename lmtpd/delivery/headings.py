"""What stands on top of each copy of one transaction, and what copies have in common through it.

`off`: each recipient's own fields. `link`: recipients whose copies can be one file (same file system, owner
and group) get the same fields, which then name none of them: a list of all would tell each who else got
the message, its Bcc recipients too. Who shares with nobody keeps his own. `share`: each recipient's own
fields, brought to one length, so that the same blocks of all files hold the same octets of the body.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from enum import Enum

from lmtpd.delivery.copy import Copy
from lmtpd.delivery.headers import Trace

# White space at most, on a line with a date and an address of up to 320 octets: RFC 5322 2.1.1 allows 998.
BLANKS = 512


class SingleInstance(Enum):
    """How often a message for many recipients is stored."""

    OFF = "off"
    LINK = "link"
    SHARE = "share"


class Headings:
    """The fields of one transaction's copies. Confined to the thread of its connection."""

    __slots__ = ("_binary", "_common", "_longest", "_trace", "_trace_of")

    def __init__(self, trace_of: Callable[[], Trace], *, binary: bool) -> None:
        """binary: the body keeps CRLF, so its header does."""
        self._trace_of = trace_of
        self._trace: Trace | None = None
        self._binary = binary
        self._common: frozenset[Copy] = frozenset()
        self._longest = 0

    def arrange(self, copies: Sequence[Copy], rule: SingleInstance) -> None:
        """Decide what these copies, those that are opened, have in common."""
        opened = [
            (copy, copy.maildir)
            for copy in copies
            if copy.twin is None and copy.outcome is None and copy.maildir is not None
        ]
        if rule is SingleInstance.LINK:
            sizes = Counter(maildir.kin for _, maildir in opened)
            self._common = frozenset(copy for copy, maildir in opened if sizes[maildir.kin] > 1)
        elif rule is SingleInstance.SHARE and len(opened) > 1:
            self._longest = max(len(self._own(copy)) for copy, _ in opened)

    def of(self, copy: Copy) -> bytes:
        """The fields on top of copy."""
        if copy in self._common:
            return self._as_body(self._shared_trace().common_fields())
        fields = self._own(copy)
        blanks = self._longest - len(fields)
        return self._own(copy, blanks) if 0 < blanks <= BLANKS else fields

    def _own(self, copy: Copy, blanks: int = 0) -> bytes:
        return self._as_body(self._shared_trace().fields(copy.address, copy.original, blanks=blanks))

    def _shared_trace(self) -> Trace:
        if self._trace is None:
            self._trace = self._trace_of()
        return self._trace

    def _as_body(self, fields: bytes) -> bytes:
        return fields.replace(b"\n", b"\r\n") if self._binary else fields
