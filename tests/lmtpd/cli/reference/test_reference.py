"""Everything that the reference has to tell has a text where it is defined."""

import re
from dataclasses import fields

import pytest

from lmtpd.cli.reference import pages, replies, settings
from lmtpd.config.effective import effective
from lmtpd.delivery.outcomes import Cause
from lmtpd.report.formats import report_fields
from lmtpd.report.metrics import PHASES
from lmtpd.report.records import OutcomeWord, RecipientReport
from lmtpd.report.vocabulary import EVENTS, FIELDS, OUTCOMES
from tests.support.configs import from_text
from tests.support.sources import sources

ALL_SETTINGS = [setting for table in settings.tables() for setting in table.settings]


@pytest.mark.parametrize("setting", ALL_SETTINGS, ids=lambda setting: setting.key)
def test_every_setting_says_what_it_means_and_what_is_allowed(setting):
    assert setting.meaning, f"write a text in triple quotes below {setting.key} in lmtpd/config/"
    assert setting.allowed, f"its parser needs a docstring: Accept ... ({setting.key})"
    assert setting.default


@pytest.mark.parametrize("described", [*replies.described()], ids=lambda described: described.name)
def test_every_reply_says_what_brought_it_about_and_what_to_do(described):
    assert described.cause, (
        f"write a text in triple quotes below {described.name} in lmtpd/protocol/replies.py"
    )
    assert described.mend or described.reply.accepted, 'with "Mend: ..." at its end'


def test_settings_are_those_that_check_shows(tmp_path):
    shown = {".".join(str(part) for part in path) for path, _ in effective(from_text(tmp_path, ""))}
    nothing_to_show = {"listen", "policy", "socketmap", "tls", "domains", "recipients.0.source", "events"}

    assert shown - nothing_to_show <= {setting.key for setting in ALL_SETTINGS}


def test_defaults_are_written_as_the_file_has_them(tmp_path):
    known = {setting.key: setting.default for setting in ALL_SETTINGS}
    ranges = {setting.key: setting.allowed for setting in ALL_SETTINGS}

    assert known["listen.unix.mode"] == known["metrics.mode"] == '`"0660"`'
    assert known["mailboxes.create"] == "`false`"
    assert known["delivery.commit"] == '`"checked"`'
    assert known["listen.unix.unix"] == "required"
    assert ranges["server.workers"] == "a whole number from 1 to 256"
    assert ranges["delivery.durability"] == '`"full"`, `"data"`, `"none"`'


def test_fields_of_the_log_are_those_that_are_written_in_their_order():
    values = {field.name: "x" for field in fields(RecipientReport) if field.type is str}
    report = RecipientReport(
        at=0.0,
        **{**values, "id": "1", "recipient": "a@b", "reply": "250"},  # type: ignore[arg-type]
        outcome="delivered",
        octets=1,
        tls=True,
        phases_ms=dict.fromkeys(PHASES, 1.0),
    )

    assert [name for name, _ in report_fields(report)] == [field.name for field in FIELDS]


def test_outcomes_are_those_of_a_report():
    assert tuple(OUTCOMES) == OutcomeWord.__args__  # type: ignore[attr-defined]


def test_every_event_has_a_meaning_and_every_meaning_an_event():
    text = "\n".join(source.text for source in sources("lmtpd"))
    written = set(re.findall(r'\bLevel\.[A-Z]+(?: if [^"]*)?,\s*"(\w+)"', text))
    made = {f"{name}_died" for name in re.findall(r'\bAttendant\("(\w+)"', text)}

    assert set(EVENTS) == written - set(OUTCOMES) | made | {"started", "reloaded", "bug"}


@pytest.mark.parametrize("cause", [cause.value for cause in Cause])
def test_the_replies_name_every_cause(cause):
    assert f"`{cause}`" in dict(pages())["replies.md"]
