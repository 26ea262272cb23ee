"""From `[submission]` to the notices, and what they mean for a recipient."""

from lmtpd.config import Config
from lmtpd.delivery.notices import Notices
from lmtpd.delivery.submission import SendmailSubmission, SmtpSubmission, Submission
from lmtpd.report.reporter import Reporter
from storage.outbox import Outbox


def build_notices(config: Config, *, reporter: Reporter) -> Notices | None:
    """Make what sends notices; None: it is not configured, and DSN is not offered."""
    submission = _submission(config)
    if submission is None:
        return None
    outbox = Outbox(config.outbox_path, durable=config.delivery.durability != "none")
    return Notices(outbox, submission, hostname=config.hostname, reporter=reporter)


def explain_notices(config: Config) -> str:
    """Say who tells a sender that his mail was delivered."""
    if config.submission.is_configured:
        return f"DSN is offered; notices leave by {config.submission}"
    return "DSN is not offered: the client sends them itself"


def _submission(config: Config) -> Submission | None:
    smtp, sendmail = config.submission.smtp, config.submission.sendmail
    if smtp is not None:
        return SmtpSubmission(smtp.host, smtp.port, hostname=config.hostname)
    return SendmailSubmission(sendmail) if sendmail is not None else None
