"""The words of the log: the fields of a recipient's line, the outcomes, and the names of all other lines.

The reference is made from these tables, and a test compares them with what the code writes.
"""

from collections.abc import Mapping
from typing import NamedTuple

from lmtpd.report.metrics import PHASES


class LogField(NamedTuple):
    """A field of a recipient's line.  One without a value is left out of the line."""

    name: str
    example: str
    meaning: str


OUTCOMES: Mapping[str, str] = {
    "delivered": "The message is in the mailbox.",
    "recognised": "It was there already: this was the retry of a delivery whose reply was lost.",
    "deferred": "Nothing was stored; the client was answered 4xx and sends again.",
    "refused": "Nothing was stored; the client was answered 5xx and bounces.",
    "dropped": "The client gave up in the middle of the message; nobody was answered.",
}

_PHASES: Mapping[str, tuple[str, str]] = {
    "resolve": ("0.1", "looking up the recipients, in milliseconds, as are those below"),
    "receive": ("0.85", "from our 354 to the dot"),
    "filter": ("0.01", "the filters"),
    "stage": ("0.27", "writing the copies"),
    "sync": ("0.28", "syncing them"),
    "record": ("0.6", "the ledger"),
    "publish": ("0.29", "the renames, and syncing `new/`"),
    "reply": ("0.04", "sending the replies"),
}

# In the order of the line.
FIELDS: tuple[LogField, ...] = (
    LogField("queue_id", "4XyZ12abc", "Postfix's, from XFORWARD IDENT or the topmost Received field"),
    LogField("id", "1f3a77c0000012", "the transaction here; also in Received and in the reply 250"),
    LogField("message_id", "<a@example.org>", "the Message-ID field"),
    LogField("from", "<a@example.org>", "the envelope sender; `<>` is the null sender"),
    LogField("to", "<b@example.net>", "the recipient as the client wrote it"),
    LogField("orig_to", "<info@example.net>", "the recipient before the client's rewriting, where it told"),
    LogField("maildir", "/srv/mail/example.net/b", "the mailbox"),
    LogField("folder", "Lists/python", "the folder below it; absent: the inbox"),
    LogField("file", "1764000000.M1P2Q3R4.mx,S=1,W=1", "the name in `new/`"),
    LogField("octets", "3071", "of the stored message, without the fields added on top"),
    LogField("reply", "250 2.0.0 <b@example.net> ...", "what the client was answered"),
    LogField("cause", "disk_full", "why not delivered, a word for counting"),
    LogField("detail", "[Errno 28] No space left ...", "the same, exactly"),
    LogField("client", "unix", "the peer: `unix`, address and port, or `policy`: Postfix has only asked"),
    LogField("helo", "mx.example.org", "what the client called itself in LHLO"),
    LogField("tls", "true", "the connection is encrypted"),
    *(LogField(f"{phase}_ms", *_PHASES[phase]) for phase in PHASES),
)

EVENTS: Mapping[str, str] = {
    "started": "The server is ready.",
    "reloaded": "A new configuration is in use.",
    "reload_failed": "The new configuration is wrong; the last good one stays.",
    "upgrade_begun": "The program as it is installed now was started, to take over.",
    "handed_over": "It serves; this server ends when its last clients have left.",
    "upgrade_failed": "It has ended before it served; this server goes on. Its own lines say why.",
    "stopping": "The server was told to end.",
    "configuration_warning": "The configuration is allowed and dangerous; the text says why.",
    "recovered": "Deliveries that were under way when the server died were settled from the ledger.",
    "worker_died": "A worker ended by itself, and was replaced.",
    "metrics_died": "The process that shows the metrics ended, and was replaced.",
    "watcher_died": "The process that watches the configuration file ended, and was replaced.",
    "fork_failed": "A process could not be started; it is tried again.",
    "connections_cut": "Clients whose connections outlived the time for draining were cut off.",
    "bug": "An error of ours, with its traceback: please report it.",
    "question_not_understood": "A client of a policy or socketmap socket said what is no question.",
    "ledger_failed": "The ledger cannot be written: everything is deferred until it can.",
    "history_failed": "The history cannot be written; deliveries go on, and what waits is written later.",
    "history_recovered": "It can be written again.",
    "history_lost": "Rows of the history could not be written; `lmtpd trace` will not find them.",
    "log_lines_dropped": "The log did not take lines in time, so many are missing.",
    "file_system_left_alone": "A file system failed too often and is not touched for a while.",
    "file_system_in_use_again": "A delivery to it has succeeded.",
    "housekeeping_failed": "Old records of the ledger or rows of the history could not be removed.",
    "notice_sent": 'A "delivered" notice was taken by the MTA.',
    "notice_deferred": "The MTA did not take a notice; it is tried again.",
    "notice_given_up": "The MTA refused a notice, or five days have gone by.",
    "outbox_failed": "Notices cannot be written down; deliveries go on.",
    "events_died": "The process that sends events ended, and was replaced.",
    "events_not_taken": "A receiver did not take events; it is tried again, ever more rarely.",
    "events_taken_again": "It does again.",
    "events_dropped": "Events are lost: too much waited, or too long, or for a receiver that is no more.",
    "events_recovered": "Deliveries that had been published when the server died were told of.",
    "events_delayed": "Events could not be written; they stay with their records until they can.",
    "events_failed": "Events cannot be taken over from the ledger, or their backlog cannot be used.",
    "quota_notice": "An owner was told of his quota, or could not be (`failed`).",
    "quota_corrected": "A mailbox's account was wrong and has been written anew.",
    "quota_not_counted": "A mailbox could not be counted.",
    "quota_not_watched": "A mailbox cannot be watched for deletions; it is counted once a day instead.",
    "quota_state_failed": "quota.db cannot be used; no owner is told until it can.",
}
