"""Dovecot's passwd-file: `user:password:uid:gid:(gecos):home:(shell):extra_fields`, one user a line.

Of the extra fields those matter that say where mail goes: `mail`, `home`, `uid`, `gid`, `quota_rule`,
`sieve` and their names in Dovecot 2.4, with or without the prefix `userdb_`, and our own `alias` and
`detail`. All others, and the password, are another program's business.
"""

from collections.abc import Mapping
from dataclasses import replace

from lmtpd.recipients.entry import Entry, EntryError, read_entry
from lmtpd.recipients.file import FileFault
from lmtpd.recipients.naming import fold
from storage.folders import FolderNames, Layout

FAULTS_SHOWN = 10
_LAST_COLUMN = 7
_NAMES = {
    "uid": "uid",
    "gid": "gid",
    "home": "home",
    "mail": "mail",
    "mail_path": "maildir",
    "quota_rule": "quota",
    "quota_storage_size": "quota",
    "sieve": "script",
    "sieve_script_path": "script",
    "alias": "alias",
    "detail": "detail",
}


def parse_passwd_file(octets: bytes, *, fold_case: bool) -> Mapping[str, Entry]:
    """Read the whole file. FileFault with every faulty line."""
    try:
        text = octets.decode()
    except UnicodeDecodeError as exc:
        raise FileFault(f"line {octets[: exc.start].count(10) + 1}: not UTF-8 text") from exc
    if text and not text.endswith("\n"):
        raise FileFault("its last line has no end: it is being written")
    entries: dict[str, Entry] = {}
    faults = []
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip() or line.startswith("#"):
            continue
        try:
            user, entry = _parse_line(line, fold_case=fold_case)
            if user in entries:
                raise EntryError(f"{user} is in it twice")
            entries[user] = entry
        except EntryError as exc:
            faults.append(f"line {number}: {exc}")
    if faults:
        more = f"; and {len(faults) - FAULTS_SHOWN} more" if len(faults) > FAULTS_SHOWN else ""
        raise FileFault("; ".join(faults[:FAULTS_SHOWN]) + more)
    return entries


def _parse_line(line: str, *, fold_case: bool) -> tuple[str, Entry]:
    columns = line.split(":", _LAST_COLUMN)
    user = columns[0].strip()
    if not user:
        raise EntryError("there is no user in front of the first colon")
    fields: dict[str, str] = {}
    for name, index in (("uid", 2), ("gid", 3), ("home", 5)):
        if len(columns) > index and columns[index]:
            fields[name] = columns[index]
    if len(columns) > _LAST_COLUMN:
        fields.update(_extra(columns[_LAST_COLUMN]))
    mail = fields.pop("mail", None)
    entry = read_entry(fields)
    if mail is not None:
        entry = _with_mail(entry, mail, user)
    return folded(user, fold_case=fold_case), entry


def _extra(text: str) -> dict[str, str]:
    found = {}
    for word in text.split():
        name, _, value = word.partition("=")
        if (ours := _NAMES.get(name.removeprefix("userdb_"))) is not None:
            found[ours] = value
    return found


def _with_mail(entry: Entry, location: str, user: str) -> Entry:
    """Read Dovecot's mail location: maildir:PATH, with options behind more colons."""
    driver, _, rest = location.partition(":")
    if driver != "maildir" or not rest:
        raise EntryError(f'mail {location!r} must begin with "maildir:": nothing else is delivered to')
    path, *options = rest.split(":")
    name, _, domain = user.partition("@")
    for variable, value in (("%h", entry.home), ("%u", user), ("%n", name), ("%d", domain)):
        if variable in path:
            if value is None:
                raise EntryError(f"mail {location!r} needs a home")
            path = path.replace(variable, value)
    if "%" in path:
        raise EntryError(f"mail {location!r}: of the variables only %h, %u, %n and %d are known")
    if path.startswith("~/") and entry.home is None:
        raise EntryError(f"mail {location!r} needs a home")
    return replace(
        entry,
        maildir=path,
        layout=Layout.FS
        if "LAYOUT=fs" in options
        else Layout.MAILDIRPP
        if "LAYOUT=maildir++" in options
        else None,
        names=FolderNames.UTF8 if "UTF-8" in options else None,
    )


def folded(user: str, *, fold_case: bool) -> str:
    """Bring an address, or a bare user, into the form that questions have."""
    local, at, domain = user.rpartition("@") if "@" in user else (user, "", "")
    return f"{fold(local, fold_case=fold_case)}{at}{domain.lower()}"
