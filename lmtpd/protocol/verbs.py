"""What each command does when states.NEXT allows it; after is where it leads if it is accepted.

A handler either does all it should, or raises BadCommand and has changed nothing.
"""

from collections.abc import Callable
from types import MappingProxyType

from lmtpd.protocol import commands, replies
from lmtpd.protocol.commands import BadCommand
from lmtpd.protocol.conversation import Conversation, OpenTransaction
from lmtpd.protocol.events import BodyOffered, Envelope, RecipientOffered, TlsRequested, TransactionStarted
from lmtpd.protocol.replies import Reply
from lmtpd.protocol.states import RECIPIENTS, TURNED_AWAY, State
from lmtpd.protocol.wire import BodyReader, ChunkReader


def lhlo(talk: Conversation, argument: bytes, after: State) -> None:
    """Introduce ourselves (RFC 2033 4.1); drops an open transaction (RFC 5321 4.1.4)."""
    talk.helo = commands.parse_lhlo(argument)
    talk.say(talk.settings.hello(tls=talk.tls))
    talk.start_over(after)


def mail(talk: Conversation, argument: bytes, after: State) -> None:
    """Begin a transaction (RFC 5321 4.1.1.2)."""
    talk.state = TURNED_AWAY  # unless we get to the end
    sender, path, parameters = commands.parse_mail(argument, dsn=talk.settings.dsn)
    if parameters.size is not None and parameters.size > talk.settings.message_octets:
        raise BadCommand(replies.TOO_LARGE)
    envelope = Envelope(
        sender,
        path,
        size=parameters.size,
        body=parameters.body,
        smtputf8=parameters.smtputf8,
        helo=talk.helo,
        tls=talk.tls,
        forwarded=talk.forwarded,
        parameters=parameters.others,
    )
    talk.maybe_transaction = OpenTransaction(envelope)
    talk.state = after
    talk.say(replies.SENDER_OK)
    talk.events.append(TransactionStarted(envelope))


def rcpt(talk: Conversation, argument: bytes, after: State) -> None:
    """Ask for a recipient (RFC 5321 4.1.1.3)."""
    transaction = talk.transaction
    address, path, parameters = commands.parse_rcpt(
        argument, smtputf8=transaction.envelope.smtputf8, dsn=talk.settings.dsn
    )
    if transaction.accepted >= talk.settings.recipients:
        raise BadCommand(replies.TOO_MANY_RECIPIENTS)
    talk.ask(RecipientOffered(address, path, parameters), after, _rcpt_answered)


def _rcpt_answered(talk: Conversation, reply: Reply) -> None:
    talk.awaits = None
    talk.say(reply)
    if reply.accepted:
        talk.transaction.accepted += 1
        talk.state = talk.after


def data(talk: Conversation, argument: bytes, after: State) -> None:
    """Ask for the body (RFC 5321 4.1.1.4)."""
    commands.refuse_argument(argument)
    if talk.transaction.envelope.body == "BINARYMIME":  # RFC 3030 3
        raise BadCommand(replies.BINARY_NEEDS_BDAT)
    talk.ask(BodyOffered(), after, _data_answered)


def _data_answered(talk: Conversation, reply: Reply) -> None:
    talk.awaits = None
    talk.say(reply)
    if reply.code == 354:
        talk.state = talk.after
        talk.reader = BodyReader()


def bdat(talk: Conversation, argument: bytes, after: State) -> None:
    """Read a chunk (RFC 3030 2).  Its octets follow in any state and whatever we think of it."""
    try:
        octets, is_last = commands.parse_bdat(argument)
    except BadCommand as bad:
        talk.close(bad.reply)  # nobody knows where the next command begins
        return
    talk.reader = ChunkReader(octets, is_last=is_last)
    if talk.state is RECIPIENTS:  # the first chunk
        talk.ask(BodyOffered(), after, _bdat_answered)


def _bdat_answered(talk: Conversation, reply: Reply) -> None:
    talk.awaits = None
    talk.state = talk.after
    if reply.code != 354:
        talk.transaction.refusal = reply


def rset(talk: Conversation, argument: bytes, after: State) -> None:
    """Drop the transaction (RFC 5321 4.1.1.5)."""
    commands.refuse_argument(argument)
    talk.say(replies.OK)
    talk.start_over(after)


def noop(talk: Conversation, _argument: bytes, _after: State) -> None:
    """Do nothing (RFC 5321 4.1.1.9)."""
    talk.say(replies.OK)


def vrfy(talk: Conversation, argument: bytes, _after: State) -> None:
    """Tell nothing (RFC 5321 7.3)."""
    if not argument:
        raise BadCommand(replies.VRFY_SYNTAX)
    talk.say(replies.CANNOT_VERIFY)


def help_(talk: Conversation, _argument: bytes, _after: State) -> None:
    """Tell what can be said."""
    talk.say(replies.HELP)


def quit_(talk: Conversation, argument: bytes, _after: State) -> None:
    """Part (RFC 5321 4.1.1.10)."""
    commands.refuse_argument(argument)
    talk.close(replies.BYE)


def starttls(talk: Conversation, argument: bytes, after: State) -> None:
    """Let the driver begin TLS (RFC 3207)."""
    commands.refuse_argument(argument)
    talk.say(replies.READY_FOR_TLS)
    # Somebody in between may have put commands behind it, to be obeyed as if sent under TLS (CVE-2011-0411).
    talk.input.clear()
    talk.start_over(after)
    talk.events.append(TlsRequested())


def xforward(talk: Conversation, argument: bytes, after: State) -> None:
    """Learn who the sender's client is (Postfix's XFORWARD_README); several of these add up."""
    attributes = {**talk.forwarded, **commands.parse_xforward(argument)}
    talk.forwarded = MappingProxyType({name: value for name, value in attributes.items() if value})
    talk.state = after
    talk.say(replies.OK)


HANDLERS: dict[bytes, Callable[[Conversation, bytes, State], None]] = {
    b"LHLO": lhlo,
    b"MAIL": mail,
    b"RCPT": rcpt,
    b"DATA": data,
    b"BDAT": bdat,
    b"RSET": rset,
    b"NOOP": noop,
    b"VRFY": vrfy,
    b"HELP": help_,
    b"QUIT": quit_,
    b"STARTTLS": starttls,
    b"XFORWARD": xforward,
}
