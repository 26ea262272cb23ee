"""The table `[owners]`: whose rights deliveries may have, with server.run_as = "recipient"."""

import grp
from typing import Annotated

from pydantic import BeforeValidator

from lmtpd.config import values
from lmtpd.config.section import Section


class Owners(Section):
    """Whose rights deliveries may have."""

    # Debian's FIRST_UID (adduser.conf): below are the machine's own services, whose rights no mail needs.
    first_uid: Annotated[int, values.whole(1, 2**32 - 2)] = 1000
    """The lowest uid that gets mail; below are the machine's own services."""
    # Besides the owner's own group.
    groups: tuple[Annotated[str, BeforeValidator(values.group_name)], ...] = ()
    """Groups that every owner has besides his own."""

    @property
    def gids(self) -> tuple[int, ...]:
        """The groups' numbers; raises KeyError for a group that has gone since the start."""
        return tuple(grp.getgrnam(name).gr_gid for name in self.groups)
