"""`lmtpd explain`: how an address resolves, without delivering anything."""

import json
import os
from collections.abc import Mapping, Sequence

import click

from lmtpd.cli.addresses import parse_address
from lmtpd.cli.directory import build_directory
from lmtpd.cli.limits import build_admission, explain_limits
from lmtpd.cli.mailbox_facts import mailbox_facts
from lmtpd.cli.notices import explain_notices
from lmtpd.cli.options import Settings, as_json, takes_settings
from lmtpd.cli.owners import mailbox_disk, with_owners
from lmtpd.cli.quota_facts import QuotaLook
from lmtpd.cli.quotas import build_quotas
from lmtpd.cli.trying import become_like_server, explain_eyes, trouble_of
from lmtpd.config import Config, Need
from lmtpd.delivery.outcomes import deferred_by, reply_of_cause
from lmtpd.delivery.reception import Answer, answer_rcpt
from lmtpd.protocol import replies
from lmtpd.protocol.addresses import Address
from lmtpd.protocol.events import NO_PARAMETERS, RecipientOffered
from lmtpd.protocol.replies import Reply
from lmtpd.recipients.mailbox import Mailbox, Mailboxes, Resolved, Unavailable, Unknown
from lmtpd.recipients.owners import Recipients
from lmtpd.report.formats import escaped
from lmtpd.report.reporter import Reporter
from storage.disk import Disk
from storage.names import NameSource

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

    Exit code 67: no such mailbox; 75: cannot be told now, full or unusable for now; 69: full, and refused.

    \b
    Examples:
      lmtpd explain alice+lists@example.org --config /etc/lmtpd/lmtpd.toml
      lmtpd explain postmaster --mailboxes '/srv/mail/{domain}/{user}'
    """
    config = settings.load(Need.MAILBOXES)
    recipient = parse_address(address)
    become_like_server(config)
    disk = mailbox_disk(config)
    directory = with_owners(config, build_directory(config, disk), disk)
    quotas = build_quotas(config, disk, NameSource(config.hostname, f"{os.getpid():x}"))
    look = QuotaLook(quotas)
    steps = [(step.question, step.answer) for step in directory.explain(recipient)]
    answer = _answer(config, directory, look, recipient, disk=disk, octets=size)
    resolved = directory.find(recipient)
    facts: dict[str, str] = {}
    if not isinstance(resolved, Unknown | Unavailable):
        facts["delivery notices"] = explain_notices(config)
    several = resolved.mailboxes if isinstance(resolved, Mailboxes) else ()
    for number, mailbox in enumerate(several or _only(resolved), 1):
        steps += [(step.question, step.answer) for step in explain_limits(config, mailbox)]
        behind = f" {number}" if several else ""
        known = {**mailbox_facts(config, mailbox), **look.facts(config, mailbox, octets=size)}
        facts |= {name + behind: value for name, value in known.items()}
    quotas.close()
    if eyes := explain_eyes(config):
        facts["seen with"] = eyes
    if answer.detail:
        facts["reason"] = answer.detail
    reply = answer.reply
    facts["reply"] = f"{reply.code} {reply.status} {reply.lines[0]}"
    _show(recipient, steps, facts, as_json=as_json)
    return _code(reply)


def _show(
    recipient: Address, steps: Sequence[tuple[str, str]], facts: Mapping[str, str], *, as_json: bool
) -> None:
    if as_json:
        looked_up = [{"question": question, "answer": answer} for question, answer in steps]
        click.echo(json.dumps({"address": str(recipient), "steps": looked_up, **facts}, indent=2))
        return
    for label, value in [("address", str(recipient)), *steps, *facts.items()]:
        click.echo(f"{label:<{_LABEL_COLUMN}} {escaped(value)}")


def _answer(  # one by one, what the server asks
    config: Config, directory: Recipients, look: QuotaLook, recipient: Address, *, disk: Disk, octets: int
) -> Answer:
    """Answer as the server does to RCPT, and where it takes the recipient, as it then does to DATA."""
    event = RecipientOffered(recipient, str(recipient).encode(), NO_PARAMETERS)
    admission = build_admission(config, directory, look, disk=disk, reporter=Reporter())
    if admission is None:
        answer = answer_rcpt(directory, look, recipient, octets=octets)
    else:
        answer = admission.foresee(event, octets=octets)
    if answer.mailbox is None:
        return answer
    for mailbox in (answer.mailbox, *answer.others):
        if (error := trouble_of(disk, mailbox)) is not None:
            outcome = deferred_by(error)
            detail = f"RCPT is taken, DATA is not: {error}"
            return Answer(None, reply_of_cause(outcome), outcome.cause.value, detail)
    return answer


def _code(reply: Reply) -> int:
    if reply.accepted:
        return os.EX_OK
    if reply.temporary:
        return os.EX_TEMPFAIL
    return os.EX_NOUSER if reply == replies.MAILBOX_UNKNOWN else os.EX_UNAVAILABLE


def _only(resolved: Resolved) -> tuple[Mailbox, ...]:
    return (resolved,) if isinstance(resolved, Mailbox) else ()
