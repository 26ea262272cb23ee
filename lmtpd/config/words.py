"""The words that keys with a fixed choice may hold, for everyone who acts on them.

Imports nothing of ours, so that delivery and recipients may know their words without knowing the file.
"""

from enum import Enum


class Layout(Enum):
    """How folders lie in a Maildir: names with dots beside new/, or directories."""

    MAILDIRPP = "maildir++"
    FS = "fs"


class Detail(Enum):
    """Where user+detail goes: the inbox, an existing folder (else the inbox), or a folder made for it."""

    INBOX = "inbox"
    EXISTING = "existing"
    CREATE = "create"


class Commit(Enum):
    """What a client can still do between its dot and our reply (design section 3, the barrier)."""

    IMMEDIATE = "immediate"
    CHECKED = "checked"
    CANCEL = "cancel"
    HOLD = "hold"


class Durability(Enum):
    """What is synced before a reply: file and directories, the file only, nothing."""

    FULL = "full"
    DATA = "data"
    NONE = "none"


class Duplicates(Enum):
    """Whether a retry of an unconfirmed delivery is recognised."""

    UNCONFIRMED = "unconfirmed"
    OFF = "off"


class OnFailure(Enum):
    """What to do without a working ledger: answer 451, or deliver and accept a possible duplicate."""

    DEFER = "defer"
    DELIVER = "deliver"
