"""What an administrator's script has put into a mailbox, or taken out, entered in its `maildirsize`."""

from contextlib import closing

from storage import maildirsize
from storage.directory import Directory
from storage.quota_file import SizeFile
from storage.quota_limit import NOTHING, Usage

# A file that is replaced so often right then is counted so often; it needs no line.
_TRIES = 5


def enter_change(inbox: Directory, change: Usage) -> None:
    """Append a line for what came or, negative, went, if there is a file. Whoever counts waits. OSError."""
    if change == NOTHING:
        return
    for _ in range(_TRIES):
        try:
            fd = inbox.disk.open_to_append(maildirsize.NAME, dir_fd=inbox.fd)
        except FileNotFoundError:
            return
        with closing(SizeFile(inbox.disk, fd)) as file:
            inbox.disk.lock_shared(file.fd)
            if not file.is_gone():
                file.enter(change)
                return
