"""A message from one folder into another of the same mailbox, as a mail reader moves it.

It gets a new name, since Dovecot takes the name for its identity, and the time in a name says when a
message came into its folder; sizes, flags and date stay. Keywords are letters of a folder, so they are
translated.
"""

from contextlib import suppress

from storage.directory import Directory
from storage.keywords import enter, keywords
from storage.messages import MessageFile, locate
from storage.names import NameSource


def move(source: Directory, message: MessageFile, target: Directory, names: NameSource) -> MessageFile:
    """Move a message by one rename; return where it is. MailboxMissing, Locked, OSError.

    The caller syncs cur/ of the target, and then both directories of the source.
    """
    while True:
        place, _ = locate(source, message)
        known = keywords(source)
        letters = enter(target, [known[letter] for letter in place.flags if letter in known])
        flags = "".join(sorted({*filter(str.isupper, place.flags), *letters.values()}))
        _, comma, sizes = place.base.partition(",")
        name = f"{names.next()}{comma}{sizes}:2,{flags}"
        part, cur = source.enter(place.part), target.enter("cur")
        with suppress(FileNotFoundError):  # renamed meanwhile
            source.disk.rename_exclusive(place.name, name, src_dir_fd=part.fd, dst_dir_fd=cur.fd)
            return MessageFile("cur", name)
