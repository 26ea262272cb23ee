"""Step 5: a copy becomes visible, under the name that its record tells."""

from lmtpd.delivery.copy import Copy
from lmtpd.delivery.intent import Intents
from storage.errors import NameTaken

NAME_TRIES = 2  # one more than chance will ever need; who watches tmp/ can take any number of names


def publish(copy: Copy, intents: Intents | None) -> None:
    """Rename a staged copy into new/. StorageError, or an outcome, where that could not be done."""
    assert copy.staged is not None
    for tries_left in reversed(range(NAME_TRIES)):
        try:
            copy.staged.publish(copy.file)
            break
        except NameTaken:
            # What lies there is not ours. A record that names it would have a retry answered 250 for it.
            copy.choose_another_name()
            if intents is not None and not intents.amend(copy):
                return
            if not tries_left:
                raise
    if copy.reservation is not None:
        copy.reservation.keep()
