"""What of `[submission]` cannot work."""

import os
from collections.abc import Iterator, Set

from lmtpd.config.problems import Finding
from lmtpd.config.submission import Submission


def check_submission(submission: Submission, listening: Set[str]) -> Iterator[Finding]:
    """Find what cannot work. listening: our own TCP sockets, as HOST:PORT."""
    if submission.smtp is not None and submission.sendmail is not None:
        yield Finding(
            ("submission", "sendmail"),
            "cannot be combined with submission.smtp: mail goes one way",
            submission.sendmail,
            judged_by=(("submission", "smtp"),),
        )
    elif submission.smtp is not None and str(submission.smtp) in listening:
        yield Finding(
            ("submission", "smtp"),
            "is a socket of this server, which does not speak SMTP: name the MTA's, such as 127.0.0.1:25",
            str(submission.smtp),
            judged_by=(("listen",),),
        )
    elif submission.sendmail is not None and not _is_program(submission.sendmail):
        yield Finding(("submission", "sendmail"), "is not a program that can be run", submission.sendmail)


def _is_program(path: str) -> bool:
    return os.path.isfile(path) and os.access(path, os.X_OK)
