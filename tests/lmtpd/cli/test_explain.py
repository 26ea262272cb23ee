"""`lmtpd explain`."""

import json
import os
import pwd

import pytest

from lmtpd.__main__ import main


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
