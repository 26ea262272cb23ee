"""What `lmtpd explain` says of a mailbox that an address resolves to."""

import os
import pwd

from lmtpd.config import Config
from lmtpd.recipients.mailbox import Mailbox

# What copies of one message have in common, by `delivery.single_instance`.
_SINGLE_INSTANCE = {
    "link": "link: equal copies are one file, without the fields that name a recipient",
    "share": "share: copies share the blocks of their body",
}


def mailbox_facts(config: Config, mailbox: Mailbox) -> dict[str, str]:
    """Tell where the mail goes, whose it is, and what is written on top of it."""
    folder = mailbox.folder or "the inbox"
    if mailbox.folder and mailbox.create_folder:
        folder += ", made if missing"
    facts = {
        "mailbox": mailbox.maildir.path,
        "folder": folder,
        "folder layout": f"{mailbox.layout.value} ({_origin(config, mailbox, 'layout')})",
        "folder names": f"{mailbox.names.value} ({_origin(config, mailbox, 'folder_names')})",
        "owner": _owner(mailbox),
        "acts as": _actor(config, mailbox),
        "Delivered-To": mailbox.address,
        "X-Original-To": _original(mailbox),
    }
    if config.delivery.single_instance != "off":
        facts["single instance"] = _SINGLE_INSTANCE[config.delivery.single_instance]
    if mailbox.script is not None:
        facts["script"] = f"{mailbox.script}, which nothing runs: there are no filters yet"
    return facts


def _origin(config: Config, mailbox: Mailbox, key: str) -> str:
    """Name the setting that a value of the mailbox comes from."""
    effective = mailbox.layout.value if key == "layout" else mailbox.names.value
    domain = mailbox.address.rpartition("@")[2]
    rules = config.domains.get(domain)
    own = getattr(rules, key, None)
    if own is not None and own == effective:
        return f'domains."{domain}".{key}'
    return f"mailboxes.{key}" if getattr(config.mailboxes, key) == effective else "the user's own"


def _actor(config: Config, mailbox: Mailbox) -> str:
    if mailbox.maildir.rights is not None:
        return f"{mailbox.maildir.rights}"
    user = config.server.run_as
    if user is None:
        return f"whoever starts the server; here uid {os.geteuid()}, gid {os.getegid()}"
    try:
        entry = pwd.getpwnam(user)
    except KeyError:
        return f"{user}, who is not known here (server.run_as)"
    return f"uid {entry.pw_uid}, gid {entry.pw_gid} (server.run_as)"


def _original(mailbox: Mailbox) -> str:
    if mailbox.alias:
        return f"{mailbox.alias}, unless the client's ORCPT says another"
    return "what the client's ORCPT says; without one, not written"


def _owner(mailbox: Mailbox) -> str:
    if mailbox.maildir.rights is not None:
        return _name(mailbox.maildir.rights.uid)
    try:
        return _name(os.stat(mailbox.maildir.path).st_uid)
    except OSError:
        return "whoever delivers first: it is made then"


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
