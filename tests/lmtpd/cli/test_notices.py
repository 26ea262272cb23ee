"""From `[submission]` to notices, and what `explain` tells of it."""

import os

import pytest

from lmtpd.__main__ import main
from lmtpd.cli.notices import build_notices
from lmtpd.config import load
from lmtpd.delivery.submission import SendmailSubmission, SmtpSubmission
from lmtpd.report.reporter import Reporter
from tests.support.configs import MAILBOXES, setting


def build(*settings: str):
    return build_notices(load(None, [MAILBOXES, *map(setting, settings)]), reporter=Reporter())


def test_without_submission_there_are_none():
    assert build() is None


@pytest.mark.parametrize(
    "text, kind", [("smtp=127.0.0.1:25", SmtpSubmission), ("sendmail=/bin/true", SendmailSubmission)]
)
def test_with_it_they_leave_that_way(text, kind):
    notices = build(f"submission.{text}")

    assert notices is not None
    assert isinstance(notices._submission, kind)


@pytest.mark.parametrize(
    "settings, told",
    [
        ([], "DSN is not offered: the client sends them itself"),
        (["smtp=127.0.0.1:25"], "DSN is offered; notices leave by SMTP to 127.0.0.1:25"),
        (["sendmail=/bin/true"], "DSN is offered; notices leave by /bin/true"),
    ],
)
def test_explain_tells_who_tells(tmp_path, capsys, settings, told):
    (tmp_path / "example.org/a").mkdir(parents=True)
    flags = [part for each in settings for part in ("--set", f"submission.{each}")]

    code = main(["explain", "a@example.org", "--mailboxes", f"{tmp_path}/{{domain}}/{{user}}", *flags])

    assert code == os.EX_OK
    assert f"delivery notices         {told}\n" in capsys.readouterr().out
