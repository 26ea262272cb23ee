"""`lmtpd explain`: how an address resolves, without delivering anything."""

import json
import os
import pwd

import click

from lmtpd.cli.directory import build_directory
from lmtpd.cli.failures import Failure
from lmtpd.cli.limits import explain_limits, has_no_room
from lmtpd.cli.notices import explain_notices
from lmtpd.cli.options import Settings, as_json, takes_settings
from lmtpd.cli.owners import mailbox_disk, with_owners
from lmtpd.cli.quota_facts import quota_facts
from lmtpd.config import Need
from lmtpd.protocol import replies
from lmtpd.protocol.addresses import Address, AddressError, parse_path
from lmtpd.protocol.replies import Reply
from lmtpd.recipients.mailbox import Mailbox, Mailboxes, Resolved, Unavailable, Unknown
from lmtpd.report.formats import escaped

_LABEL_COLUMN = 24


@click.command()
@click.argument("address")
@takes_settings
@click.option(
    "--size", metavar="OCTETS", type=click.IntRange(0), default=0, help="As MAIL SIZE=.  [not known]"
)
@as_json
def explain(settings: Settings, *, address: str, size: int, as_json: bool) -> int:
    """Show how ADDRESS resolves: each look-up, the mailbox, its quota and use, and the reply to RCPT.

    Exit code 67: no such mailbox; 75: cannot be told now, or full for now; 69: full, and refused.

    \b
    Examples:
      lmtpd explain alice+lists@example.org --config /etc/lmtpd/lmtpd.toml
      lmtpd explain postmaster --mailboxes '/srv/mail/{domain}/{user}'
    """
    config = settings.load(Need.MAILBOXES)
    recipient = parse_address(address)
    disk = mailbox_disk(config)
    directory = with_owners(config, build_directory(config, disk), disk)
    steps = [(step.question, step.answer) for step in directory.explain(recipient)]
    resolved = directory.find(recipient)
    reply, code = _answer(resolved)
    facts: dict[str, str] = {}
    if isinstance(resolved, Unknown | Unavailable):
        facts["reason"] = resolved.reason
    else:
        facts["delivery notices"] = explain_notices(config)
    several = resolved.mailboxes if isinstance(resolved, Mailboxes) else ()
    for number, mailbox in enumerate(several or _only(resolved), 1):
        steps += [(step.question, step.answer) for step in explain_limits(config, mailbox)]
        quota = quota_facts(config, mailbox, octets=size)
        behind = f" {number}" if several else ""
        facts |= {name + behind: value for name, value in {**_facts(mailbox), **quota.facts}.items()}
        refusal = replies.NO_SPACE if has_no_room(config, mailbox, octets=size) else quota.refusal
        if refusal is not None:
            reply, code = refusal, os.EX_TEMPFAIL if refusal.temporary else os.EX_UNAVAILABLE
    facts["reply"] = f"{reply.code} {reply.status} {reply.lines[0]}"
    if as_json:
        looked_up = [{"question": question, "answer": answer} for question, answer in steps]
        click.echo(json.dumps({"address": str(recipient), "steps": looked_up, **facts}, indent=2))
    else:
        for label, value in [("address", str(recipient)), *steps, *facts.items()]:
            click.echo(f"{label:<{_LABEL_COLUMN}} {escaped(value)}")
    return code


def parse_address(text: str) -> Address:
    """Read an address from the command line, with or without angle brackets.  Raises Failure."""
    path = text if text.startswith("<") else f"<{text}>"
    octets = path.encode(errors="surrogateescape")
    try:
        address, end = parse_path(octets, smtputf8=True)
    except AddressError as exc:
        raise Failure(f"{escaped(text)}: {exc}", os.EX_DATAERR) from exc
    if address is None or end != len(octets):
        raise Failure(f"{escaped(text)}: not one address", os.EX_DATAERR)
    return address


def _answer(resolved: Resolved) -> tuple[Reply, int]:
    match resolved:
        case Mailbox() | Mailboxes():
            return replies.RECIPIENT_OK, os.EX_OK
        case Unknown():
            return replies.MAILBOX_UNKNOWN, os.EX_NOUSER
        case Unavailable():
            return replies.LOOKUP_FAILED, os.EX_TEMPFAIL


def _only(resolved: Resolved) -> tuple[Mailbox, ...]:
    return (resolved,) if isinstance(resolved, Mailbox) else ()


def _facts(resolved: Mailbox) -> dict[str, str]:
    folder = resolved.folder or "the inbox"
    if resolved.folder and resolved.create_folder:
        folder += ", made if missing"
    return {
        "mailbox": resolved.maildir.path,
        "folder": folder,
        "owner": _owner(resolved),
        "filter": "none",
    }


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
