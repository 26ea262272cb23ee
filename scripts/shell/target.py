"""One Maildir to work on: a value, which goes to the worker processes."""

import os
from dataclasses import dataclass

from storage.folders import FolderNames, Layout
from storage.maildir import MaildirPath
from storage.making import OwnerIds


@dataclass(frozen=True, slots=True)
class Target:
    """One Maildir to work on."""

    where: MaildirPath
    layout: Layout
    user: str = ""  # the address that led to it; empty for a Maildir given by its path
    names: FolderNames = FolderNames.UTF7
    owner: OwnerIds | None = None  # whose it is, or will be; None: nobody says
    may_be_missing: bool = False  # its user is known, so a delivery would make it

    @property
    def path(self) -> str:
        """Where it is, for people."""
        return self.where.path


def is_missing(target: Target) -> bool:
    """Tell whether there certainly is no Maildir."""
    try:
        os.lstat(target.path)
    except FileNotFoundError:
        return True
    except OSError:
        pass  # there may be one: whoever opens it says what is wrong
    return False
