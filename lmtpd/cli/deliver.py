"""`lmtpd deliver`: the same delivery from standard input, through the same seven steps."""

import os
import pwd
import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace

import click

from lmtpd.cli.addresses import parse_address
from lmtpd.cli.failures import ConfigFailure, Failure
from lmtpd.cli.options import Settings, takes_settings
from lmtpd.cli.stdin import wire_chunks
from lmtpd.cli.wiring import build_service
from lmtpd.config import Config, ConfigError, Need, Override
from lmtpd.delivery.barrier import Verdict
from lmtpd.delivery.peer import Peer
from lmtpd.delivery.service import Service
from lmtpd.delivery.transaction import Transaction
from lmtpd.protocol import replies
from lmtpd.protocol.events import NO_PARAMETERS, NOT_FORWARDED, Envelope, RecipientOffered
from lmtpd.protocol.replies import Reply
from lmtpd.report.formats import escaped
from lmtpd.report.reporter import Reporter
from lmtpd.server.errors import CannotStart
from lmtpd.server.privileges import stay_root
from lmtpd.server.startup import drop_privileges


@click.command()
@takes_settings
@click.option("--to", "recipients", metavar="ADDRESS", multiple=True, required=True, help="Repeatable.")
@click.option("--from", "sender", metavar="ADDRESS", default="", help="The envelope sender.  [<>]")
def deliver(settings: Settings, *, recipients: Sequence[str], sender: str) -> int:
    """Deliver one message from standard input, for .forward, cron and migration.

    A "From " line on top, as mbox files and .forward pipes have it, is dropped.  Lines may end in LF or CRLF.

    Exit code 0: delivered to all.  75: not to all, or a wrong configuration; try again: what was delivered is
    recognised then and not stored twice.  67: no such mailbox; 69: refused for another reason.

    \b
    Examples:
      lmtpd deliver --config /etc/lmtpd/lmtpd.toml --to bob@example.org < message
      "|lmtpd deliver --config /etc/lmtpd/lmtpd.toml --from '$SENDER' --to bob@example.org"
    """
    # There is nobody to be asked at the barrier, and nobody who could still cancel.
    immediate = Override("--set", "delivery.commit=immediate")
    try:
        config = replace(settings, overrides=(*settings.overrides, immediate)).reload(Need.MAILBOXES)
    except ConfigError as exc:
        # Not 78: a caller such as Postfix bounces mail on it, and a typo is not the sender's fault.
        raise ConfigFailure(exc, os.EX_TEMPFAIL) from exc
    envelope = _envelope(config, sender, smtputf8=not all(map(str.isascii, (sender, *recipients))))
    offered = [RecipientOffered(parse_address(each), _path(each), NO_PARAMETERS) for each in recipients]
    try:
        return _run(config, envelope, offered)
    except (Failure, click.Abort):
        raise
    except Exception as exc:
        # A caller such as Postfix bounces mail on any other code, and no bug of ours is the sender's fault.
        raise Failure(f"{type(exc).__name__}: {exc}", os.EX_TEMPFAIL) from exc


def _run(config: Config, envelope: Envelope, offered: Sequence[RecipientOffered]) -> int:
    _become_owner(config)
    # The lines on standard error are for the caller, who may put them into a bounce: the log's are not.
    with open(os.devnull, "wb") as nowhere:
        service = build_service(config, reporter=Reporter(fd=nowhere.fileno()))
        try:
            if sys.stdin.isatty():
                click.echo("Reading the message from the terminal; end it with Ctrl-D.", err=True)
            chunks = wire_chunks(sys.stdin.buffer)
            answers = transact(service, envelope, offered, chunks=chunks, limit=config.limits.message_octets)
        finally:
            service.close()
    for event, answer in zip(offered, answers, strict=True):
        if not answer.accepted:
            click.echo(f"lmtpd: <{event.path.decode(errors='replace')}>: {_text(answer)}", err=True)
    return exit_code(answers)


def transact(
    service: Service,
    envelope: Envelope,
    offered: Sequence[RecipientOffered],
    *,
    chunks: Iterable[bytes],
    limit: int,
) -> list[Reply]:
    """Run one transaction; return one reply for each recipient."""
    transaction = Transaction(service, Peer("stdin"), envelope)
    try:
        answers = [transaction.offer(event) for event in offered]
        accepted = [index for index, answer in enumerate(answers) if answer.accepted]
        if accepted:
            final = _send_body(transaction, chunks, limit=limit, count=len(accepted))
            for index, answer in zip(accepted, final, strict=True):
                answers[index] = answer
        if exit_code(answers) == os.EX_TEMPFAIL:
            # The caller comes again with all recipients: the records tell which have it already.
            transaction.release()
        else:
            transaction.confirm()
        return answers
    finally:
        transaction.drop()


def _send_body(
    transaction: Transaction, chunks: Iterable[bytes], *, limit: int, count: int
) -> Sequence[Reply]:
    opened = transaction.open_body()
    if opened is not replies.START_DATA:
        return [opened] * count
    octets = 0
    for chunk in chunks:
        octets += len(chunk)
        if octets <= limit:
            transaction.write(chunk)
    refusal = replies.TOO_LARGE if octets > limit else None
    return list(transaction.deliver(_Caller(), refusal))


def exit_code(answers: Sequence[Reply]) -> int:
    """Sum up: a temporary failure wins, since only a retry can mend it."""
    failed = [answer for answer in answers if not answer.accepted]
    if not failed:
        return os.EX_OK
    if any(answer.temporary for answer in failed):
        return os.EX_TEMPFAIL
    return os.EX_NOUSER if all(answer.status == "5.1.1" for answer in failed) else os.EX_UNAVAILABLE


class _Caller:
    """The program at the other end of the pipe, which waits for the exit code."""

    def verdict(self) -> Verdict | None:
        return None


def _envelope(config: Config, sender: str, *, smtputf8: bool) -> Envelope:
    address = parse_address(sender) if sender not in ("", "<>") else None
    return Envelope(
        sender=address,
        sender_path=_path(sender) if address else b"",
        size=None,
        body="8BITMIME",
        smtputf8=smtputf8,
        helo=config.hostname,
        tls=False,
        forwarded=NOT_FORWARDED,
        parameters=NO_PARAMETERS,
    )


def _path(text: str) -> bytes:
    return text.removeprefix("<").removesuffix(">").encode(errors="surrogateescape")


def _text(answer: Reply) -> str:
    return escaped(f"{answer.code} {answer.status} {' '.join(answer.lines)}")


def _become_owner(config: Config) -> None:
    """What root delivered as root, the server could not touch afterwards."""
    user = config.server.run_as
    try:
        if config.acts_as_recipients:
            stay_root(config.owners)
        elif user is not None and os.geteuid() == 0:
            drop_privileges(pwd.getpwnam(user))
        os.makedirs(config.state, mode=0o700, exist_ok=True)
    except OSError as exc:
        raise Failure(f"{config.state}: {exc.strerror}", os.EX_TEMPFAIL) from exc
    except CannotStart as exc:
        raise Failure(str(exc), os.EX_TEMPFAIL) from exc
