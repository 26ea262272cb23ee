# Long because each fact that is shown has its test.
"""`lmtpd explain`."""

import json
import os
import pwd
import time

import pytest

from lmtpd.__main__ import main
from storage.quota_state import QuotaState


@pytest.fixture
def mail(tmp_path):
    (tmp_path / "example.org" / "bob" / ".lists" / "cur").mkdir(parents=True)
    return tmp_path


def explain(mail, address, *more):
    return main(["explain", address, "--mailboxes", f"{mail}/{{domain}}/{{user}}", *more])


def test_known_address(mail, capsys):
    assert explain(mail, "Bob@Example.org") == os.EX_OK

    output = capsys.readouterr().out
    assert f"mailbox                  {mail}/example.org/bob\n" in output
    assert "folder                   the inbox\n" in output
    assert f"owner                    {pwd.getpwuid(os.geteuid()).pw_name}\n" in output
    assert output.endswith("reply                    250 2.1.5 Recipient OK\n")


def put(mail, octets):
    (mail / "example.org/bob/cur").mkdir()
    (mail / f"example.org/bob/cur/1.M1P1.host,S={octets}:2,").write_bytes(b"")


@pytest.mark.parametrize(
    "size, full, code, reply",
    [
        ("100", "defer", os.EX_OK, "250 2.1.5 Recipient OK"),
        ("101", "defer", os.EX_TEMPFAIL, "452 4.2.2 Mailbox full"),
        ("101", "defer 3d", os.EX_TEMPFAIL, "452 4.2.2 Mailbox full"),
        ("101", "reject", os.EX_UNAVAILABLE, "552 5.2.2 Mailbox full"),
    ],
)
def test_quota_and_use_are_shown_and_nothing_is_changed(mail, capsys, size, full, code, reply):
    put(mail, 900)
    before = sorted(mail.rglob("*"))

    settings = [
        "--set",
        "quota.default=1000,5M",
        "--set",
        f"quota.full={full}",
        "--state",
        str(mail / "state"),
    ]
    assert explain(mail, "bob@example.org", "--size", size, *settings) == code

    output = capsys.readouterr().out
    assert "quota                    1000,5M (quota.default)\n" in output
    assert "used                     900 octets, 1 messages, 90%\n" in output
    assert output.endswith(f"reply                    {reply}\n")
    assert sorted(mail.rglob("*")) == before


def test_a_quota_may_come_from_the_mailbox(mail, capsys):
    put(mail, 900)
    (mail / "example.org/bob/maildirsize").write_text("1000S\n300 3\n")

    assert explain(mail, "bob@example.org", "--set", "quota.default=maildirsize") == os.EX_OK

    output = capsys.readouterr().out
    assert "quota                    1000 (from its maildirsize)\n" in output
    assert "used                     300 octets, 3 messages, 30%\n" in output


def test_how_long_a_mailbox_has_been_full_is_shown(mail, capsys):
    put(mail, 900)
    (mail / "state").mkdir()
    state = QuotaState(mail / "state/quota.db")
    state.is_full(f"{mail}/example.org/bob", time.time() - 4 * 86_400)
    state.close()
    settings = ["--set", "quota.default=500", "--set", "quota.full=defer 3d", "--state", str(mail / "state")]

    assert explain(mail, "bob@example.org", *settings) == os.EX_UNAVAILABLE

    assert "full for                 4.0 days\n" in capsys.readouterr().out


def test_a_quota_that_cannot_be_told_is_said_to_be_so(mail, capsys):
    (mail / "example.org/bob/maildirsize").mkdir()

    explain(mail, "bob@example.org", "--set", "quota.default=500")

    assert "quota                    cannot be told: " in capsys.readouterr().out


def test_without_a_quota_the_file_systems_counts(mail, capsys):
    explain(mail, "bob@example.org")

    assert "quota                    none but the file system's\n" in capsys.readouterr().out


def test_address_with_detail(mail, capsys):
    assert explain(mail, "<bob+lists@example.org>") == os.EX_OK

    assert "folder                   lists\n" in capsys.readouterr().out


def test_folder_that_would_be_made(mail, capsys):
    assert explain(mail, "bob+new@example.org", "--set", "mailboxes.detail=create") == os.EX_OK

    assert "folder                   new, made if missing\n" in capsys.readouterr().out


def test_mailbox_that_would_be_made(mail, capsys):
    assert explain(mail, "eve@example.org", "--set", "mailboxes.create=true") == os.EX_OK

    assert "owner                    whoever delivers first" in capsys.readouterr().out


def test_owner_without_a_name_is_a_number(mail, capsys, monkeypatch):
    def no_name(uid):
        raise KeyError(uid)

    monkeypatch.setattr("pwd.getpwuid", no_name)

    explain(mail, "bob@example.org")

    assert f"owner                    {os.geteuid()}\n" in capsys.readouterr().out


def test_unknown_address_is_67(mail, capsys):
    assert explain(mail, "eve@example.org") == os.EX_NOUSER

    output = capsys.readouterr().out
    assert f"reason                   no Maildir at {mail}/example.org/eve\n" in output
    assert "reply                    550 5.1.1 No such mailbox\n" in output


def test_address_that_cannot_be_looked_up_is_75(tmp_path, capsys):
    assert explain(tmp_path / "not-mounted", "eve@example.org") == os.EX_TEMPFAIL

    assert "reply                    451 4.3.0" in capsys.readouterr().out


def test_postmaster_needs_no_domain(mail, capsys):
    (mail / "mx.example.org" / "postmaster").mkdir(parents=True)

    assert explain(mail, "postmaster", "--set", "hostname=mx.example.org") == os.EX_OK

    assert "stands for postmaster@mx.example.org" in capsys.readouterr().out


def test_json(mail, capsys):
    assert explain(mail, "bob@example.org", "--json") == os.EX_OK

    shown = json.loads(capsys.readouterr().out)
    assert shown["address"] == "bob@example.org"
    assert {"question": "source", "answer": "maildirs"} in shown["steps"]
    assert shown["reply"] == "250 2.1.5 Recipient OK"


@pytest.mark.parametrize("address", ["", "<>", "a b@example.org", "a@b@c", "<a@b> x", "a@b>", "\udcff@b"])
def test_what_is_no_address_is_65(mail, capsys, address):
    assert explain(mail, address) == os.EX_DATAERR

    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith("lmtpd: ")
    assert "Traceback" not in output.err


def test_an_alias_shows_every_step_and_every_mailbox(mail, capsys):
    (mail / "example.org" / "ann").mkdir()
    aliases = 'aliases={ "all@example.org" = ["bob@example.org", "ann@example.org"] }'

    assert explain(mail, "all@example.org", "--set", aliases) == os.EX_OK

    output = capsys.readouterr().out
    assert "alias                    all@example.org -> ann@example.org\n" in output
    assert f"mailbox 1                {mail}/example.org/bob\n" in output
    assert f"mailbox 2                {mail}/example.org/ann\n" in output
    assert output.endswith("reply                    250 2.1.5 Recipient OK\n")


def test_an_alias_to_nobody_is_75(mail, capsys):
    aliases = 'aliases={ "info@example.org" = "eve@example.org" }'

    assert explain(mail, "info@example.org", "--set", aliases) == os.EX_TEMPFAIL

    reason = f"info@example.org stands for eve@example.org: no Maildir at {mail}/example.org/eve"
    assert f"reason                   {reason}\n" in capsys.readouterr().out


def test_what_a_source_says_is_shown(mail, capsys):
    home = mail / "home"
    home.mkdir()
    (mail / "users").write_text(f'[eve]\nhome = "{home}"\nuid = 8\ngid = 8\nquota = "1G"\n')
    os.utime(mail / "users", (1, 1))
    sources = f'recipients=[{{ source = "file", format = "toml", file = "{mail}/users" }}]'

    assert explain(mail, "eve@example.org", "--set", sources) == os.EX_OK

    output = capsys.readouterr().out
    assert f"answer: home             {home}\n" in output
    assert "answer: owner            uid 8, gid 8\n" in output
    assert f"mailbox                  {home}/Maildir\n" in output
    assert "(the user's own)" in output


def shown(mail, capsys, *settings, address="bob@example.org"):
    flags = [part for each in settings for part in ("--set", each)]
    explain(mail, address, "--json", "--state", str(mail / "state"), *flags)
    return json.loads(capsys.readouterr().out)


def test_a_domains_quota_is_called_the_domains(mail, capsys):
    facts = shown(mail, capsys, 'domains={ "example.org" = { quota = "1M" } }', "quota.default=2M")

    assert facts["quota"] == '1M (domains."example.org".quota)'


@pytest.mark.parametrize(
    "rule, quota",
    [
        ("lists:+500", "1500 (quota.default, with quota.folders lists:+500)"),
        ("lists:ignore", "none: quota.folders has lists:ignore"),
        ("Trash:+500", "1000 (quota.default)"),
    ],
)
def test_the_rule_for_a_folder_is_named(mail, capsys, rule, quota):
    settings = ["quota.default=1000", f'quota.folders=["{rule}"]']

    facts = shown(mail, capsys, *settings, address="bob+lists@example.org")

    assert facts["quota"] == quota


def test_the_thresholds_of_warnings_are_told(mail, capsys):
    facts = shown(mail, capsys, "quota.default=1000", 'quota.warnings=["95%", "80%"]')

    assert facts["warned at"] == "80%, 95%"


@pytest.mark.parametrize(
    "setting, layout",
    [
        ("mailboxes.layout=fs", "fs (mailboxes.layout)"),
        ('domains={ "example.org" = { layout = "fs" } }', 'fs (domains."example.org".layout)'),
    ],
)
def test_where_the_layout_is_set_is_told(mail, capsys, setting, layout):
    assert shown(mail, capsys, setting)["folder layout"] == layout


def test_what_is_written_on_top_is_told(mail, capsys):
    aliases = 'aliases={ "info@example.org" = "bob@example.org" }'

    facts = shown(mail, capsys, aliases, "delivery.single_instance=link", address="info@example.org")

    assert facts["Delivered-To"] == "bob@example.org"
    assert facts["X-Original-To"] == "info@example.org, unless the client's ORCPT says another"
    assert facts["single instance"].startswith("link: ")


def test_who_acts_is_told(mail, capsys):
    facts = shown(mail, capsys)

    assert facts["acts as"].endswith(f"uid {os.geteuid()}, gid {os.getegid()}")
    assert "single instance" not in facts
    assert "script" not in facts


def test_a_script_is_said_to_be_run_by_nothing(mail, capsys):
    (mail / "users").write_text(f'[eve]\nhome = "{mail}"\nscript = "x.sieve"\n')
    os.utime(mail / "users", (1, 1))
    sources = f'recipients=[{{ source = "file", format = "toml", file = "{mail}/users" }}]'

    facts = shown(mail, capsys, sources, address="eve@example.org")

    assert facts["script"] == "x.sieve, which nothing runs: there are no filters yet"


def test_a_folder_that_cannot_be_opened_is_answered_as_data_would_be(mail, capsys):
    (mail / "example.org/bob/.lists/new").write_text("")

    facts = shown(mail, capsys, address="bob+lists@example.org")

    assert facts["reply"] == "451 4.2.0 Mailbox unavailable for now"
    assert facts["reason"].startswith("RCPT is taken, DATA is not: ")


@pytest.mark.parametrize(
    "detail, rule, told",
    [
        ("lists", "existing", "lists: to the folder lists"),
        ("new", "create", "new: to the folder new"),
        ("lists", "inbox", "lists: to the inbox, as all details"),
        ("new", "existing", "new: to the inbox, since there is no such folder"),
        ("Inbox", "create", "Inbox: to the inbox, which it names"),
        ("a.b.c", "create", "a.b.c: to the inbox, since it has more levels than folder_levels allows, 2"),
        ("a..b", "create", "a..b: to the inbox, since"),
    ],
)
def test_why_a_detail_leads_where_it_does(mail, capsys, detail, rule, told):
    levels = 20 if ".." in detail else 2
    settings = [f"mailboxes.detail={rule}", f"mailboxes.folder_levels={levels}"]

    steps = shown(mail, capsys, *settings, address=f'"bob+{detail}"@example.org')["steps"]

    (answer,) = [each["answer"] for each in steps if each["question"] == f"detail ({rule})"]
    assert answer.startswith(told)
