"""`lmtp-send`: messages to an LMTP server, and what it answers for each recipient."""

import functools
import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import click

from scripts.lmtp.checking import Limits, State, judge, status_line
from scripts.lmtp.message import WireMessage
from scripts.lmtp.options import CHECK_TIMEOUT_S, TIMEOUT_S, Connection, takes_check, takes_connection
from scripts.lmtp.outcome import Outcome
from scripts.lmtp.sending import Order, carry_out
from scripts.shell.crew import Fact
from scripts.shell.failures import Failure
from scripts.shell.output import Printer, shown
from scripts.shell.progress import Silent, meter
from scripts.shell.running import Script, run_script
from scripts.shell.work import as_json, dry_run


@click.command("lmtp-send", cls=Script)
@takes_connection
@click.argument("files", metavar="[FILE]...", nargs=-1)
@click.option("--to", "recipients", metavar="ADDRESS", multiple=True, help="Repeatable.")
@click.option("--from", "sender", metavar="ADDRESS", default="", help="The envelope sender.  [<>]")
@takes_check
@dry_run
@as_json
def lmtp_send(
    connection: Connection,
    *,
    files: Sequence[str],
    recipients: Sequence[str],
    sender: str,
    limits: Limits | None,
    dry_run: bool,
    as_json: bool,
) -> int:
    """Send files, or standard input, to an LMTP server, and print what it answers for each recipient.

    Lines may end in LF or CRLF; a "From " line on top is dropped.  Several files are several messages over
    one connection.  With --dry-run the recipients are asked for, and nothing is sent.

    With --check and no FILE nothing is sent either: with --to the recipients are asked for, without it the
    greeting is all that is wanted.

    Exit code 0: all were accepted.  75: some were not, or the server was lost; try again.  67: no such
    mailbox.  69: refused for another reason.

    \b
    Examples:
      lmtp-send unix:/var/spool/postfix/private/lmtpd --to bob@example.org message.eml
      lmtp-send tcp:127.0.0.1:24 --from me@example.org --to bob@example.org < message.eml
      lmtp-send tcp:mx.example.org:24 --starttls --to bob@example.org --check --warning 1 --critical 5
    """
    if not recipients and (limits is None or files):
        raise click.UsageError("to whom? Give --to ADDRESS")
    only_asks = dry_run or (limits is not None and not files)
    order = _order(sender, recipients, () if only_asks else files or ("-",))
    if limits is not None:
        return _check(connection, order, limits, as_json=as_json)
    return _send(connection, order, Printer(as_json=as_json, text=_text))


def _order(sender: str, recipients: Sequence[str], files: Sequence[str]) -> Order:
    messages = [(name, functools.partial(_opened, name)) for name in files]
    return Order(_address(sender), tuple(map(_address, recipients)), messages)


def _send(connection: Connection, order: Order, printer: Printer) -> int:
    outcome = Outcome()
    told = 0
    # Whoever types a message sees what he types, and no bar.
    is_typed = sys.stdin.isatty() and any(name == "-" for name, _ in order.messages)
    with Silent() if is_typed else meter(units="messages", items="replies") as progress:
        progress.expect(max(len(order.messages), 1))
        for fact in carry_out(connection, order, outcome, timeout_s=TIMEOUT_S):
            printer.fact(fact)
            sys.stdout.flush()
            told += 1
            progress.add(1, told / len(order.recipients))
            if told % len(order.recipients) == 0:
                progress.advance()
    if outcome.failure:
        raise Failure(shown(outcome.failure), outcome.code)
    return outcome.code


def _check(connection: Connection, order: Order, limits: Limits, *, as_json: bool) -> int:
    outcome = Outcome()
    facts = list(carry_out(connection, order, outcome, timeout_s=CHECK_TIMEOUT_S))
    state = judge(outcome, limits)
    line = shown(status_line(outcome, limits))
    if as_json:
        line = json.dumps(
            {
                "state": state.name,
                "line": line,
                "seconds": round(outcome.seconds, 6),
                "connect_s": round(outcome.connect_s, 6),
                "accepted": outcome.accepted,
                "failure": outcome.failure,
                "replies": facts,
            }
        )
    sys.stdout.write(line + "\n")
    return state


def _text(fact: Fact) -> str:
    reply = " ".join(str(fact[key]) for key in ("code", "status", "text") if fact[key])
    where = f"{fact['file']}: " if fact["file"] not in ("", "-") else ""
    return shown(f"{where}{fact['to']}: {reply}")


@contextmanager
def _opened(name: str) -> Iterator[WireMessage]:
    try:
        if name == "-":
            if sys.stdin.isatty():
                click.echo("Reading the message from the terminal; end it with Ctrl-D.", err=True)
            message = WireMessage(sys.stdin.buffer)
        else:
            with Path(name).open("rb") as stream:
                message = WireMessage(stream)
    except OSError as exc:
        raise Failure(f"{name}: {exc.strerror}", os.EX_NOINPUT) from exc
    with message:
        yield message


def _address(text: str) -> str:
    """Take an address as it is: what a server says to a strange one may be what is wanted to be seen."""
    address = text.removeprefix("<").removesuffix(">")
    if not address.isprintable():
        raise click.UsageError(f"{text!r} is no address: it has a control character")
    return address


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    arguments = sys.argv[1:] if argv is None else argv
    code = run_script(lmtp_send, "lmtp-send", argv)
    if "--check" in arguments and "--help" not in arguments and code not in tuple(State):
        # Whatever kept us from looking says nothing of the server.
        sys.stdout.write("LMTP UNKNOWN: it could not be checked, see standard error\n")
        return State.UNKNOWN
    return code
