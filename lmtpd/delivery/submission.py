"""How mail of our own leaves: to the MTA, by SMTP or by sendmail(1), from the null sender.

There is no queue here and no way to other hosts: whatever is to be sent, the MTA takes or does not take.
"""

import smtplib
import subprocess
from typing import Protocol

TIMEOUT_S = 60.0  # of each step; a thread of its own waits, nobody else


class SubmissionError(Exception):
    """The MTA did not take the message."""

    def __init__(self, text: str, *, is_final: bool = False) -> None:
        super().__init__(text)
        self.is_final = is_final  # trying again will not help


class Submission(Protocol):
    """Hands messages to the MTA."""

    def send(self, recipient: str, message: bytes) -> None:
        """Hand over one message (CRLF lines) from <>; on return the MTA has it. SubmissionError."""


class SmtpSubmission:
    """Submits by SMTP, a connection for each message."""

    def __init__(self, host: str, port: int, *, hostname: str, timeout_s: float = TIMEOUT_S) -> None:
        self._host = host
        self._port = port
        self._hostname = hostname
        self._timeout_s = timeout_s

    def send(self, recipient: str, message: bytes) -> None:
        """Hand over one message; see Submission."""
        options = [] if recipient.isascii() else ["SMTPUTF8", "BODY=8BITMIME"]
        try:
            with smtplib.SMTP(
                self._host, self._port, local_hostname=self._hostname, timeout=self._timeout_s
            ) as client:
                code, text = client.ehlo()
                if code != 250:
                    raise SubmissionError(_answer(code, text))
                if options and not client.has_extn("smtputf8"):
                    raise SubmissionError("the server does not offer SMTPUTF8", is_final=True)
                client.sendmail("", [recipient], message, mail_options=options)
        except smtplib.SMTPRecipientsRefused as exc:
            ((code, text),) = exc.recipients.values()
            raise SubmissionError(_answer(code, text), is_final=code >= 500) from exc
        except smtplib.SMTPResponseException as exc:
            # 5xx to anything but the recipient is a setting of the MTA's, which somebody may mend.
            raise SubmissionError(_answer(exc.smtp_code, exc.smtp_error)) from exc
        except (OSError, smtplib.SMTPException) as exc:
            raise SubmissionError(f"{self._host}:{self._port}: {exc}") from exc


class SendmailSubmission:
    """Submits by the program sendmail, which every MTA brings."""

    def __init__(self, program: str, *, timeout_s: float = TIMEOUT_S) -> None:
        self._program = program
        self._timeout_s = timeout_s

    def send(self, recipient: str, message: bytes) -> None:
        """Hand over one message; see Submission."""
        command = [self._program, "-i", "-f", "<>", "--", recipient]
        try:
            done = subprocess.run(
                command,
                input=message.replace(b"\r\n", b"\n"),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                timeout=self._timeout_s,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as exc:
            raise SubmissionError(str(exc)) from exc
        if done.returncode != 0:
            reason = done.stderr.decode(errors="replace").strip()
            raise SubmissionError(f"{self._program}: exit code {done.returncode} {reason}".rstrip())


def _answer(code: int, text: bytes | str) -> str:
    return f"{code} {text.decode(errors='replace') if isinstance(text, bytes) else text}"
