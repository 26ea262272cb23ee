"""Dovecot's passwd-file."""

import pytest

from lmtpd.recipients.entry import Entry
from lmtpd.recipients.file import FileFault
from lmtpd.recipients.mailbox import MailboxOwner
from lmtpd.recipients.passwd_file import parse_passwd_file
from storage.folders import FolderNames, Layout
from storage.quota_limit import QuotaLimit


def only(line: str) -> Entry:
    (entry,) = parse_passwd_file(line.encode() + b"\n", fold_case=True).values()
    return entry


def test_columns_and_extra_fields():
    entry = only(
        "alice@example.org:{SSHA}x/y=:1000:8:Alice:/srv/alice:/bin/sh:"
        "userdb_mail=maildir:~/Mail:LAYOUT=fs:UTF-8 userdb_quota_rule=*:storage=1G nopassword=y sieve=~/s"
    )

    assert entry == Entry(
        home="/srv/alice",
        maildir="~/Mail",
        owner=MailboxOwner(1000, 8),
        quota=QuotaLimit(1 << 30),
        script="~/s",
        layout=Layout.FS,
        names=FolderNames.UTF8,
    )


def test_a_user_without_more_than_a_name_or_a_password():
    assert only("alice") == only("alice:{PLAIN}x") == Entry()


def test_variables_of_the_location():
    entry = only("alice@example.org:::::/srv/a::mail=maildir:/m/%d/%n/%u/%h")

    assert entry.maildir == "/m/example.org/alice/alice@example.org//srv/a"


def test_names_are_in_the_form_of_questions():
    text = b"# comment\n\nAlice@Example.ORG:x\nBob:x\n"

    assert list(parse_passwd_file(text, fold_case=True)) == ["alice@example.org", "bob"]
    assert list(parse_passwd_file(text, fold_case=False)) == ["Alice@example.org", "Bob"]


@pytest.mark.parametrize(
    "line, why",
    [
        (":x:1:1", "line 1: there is no user"),
        ("alice:x:1000", "line 1: uid and gid must be given together"),
        ("alice:x:::::: mail=mbox:~/m", 'must begin with "maildir:"'),
        ("alice:x:::::: mail=maildir:~/m", "needs a home"),
        ("alice:x:::::: mail=maildir:%h/m", "needs a home"),
        ("alice:x::::/h:: mail=maildir:/m/%{user}", "only %h, %u, %n and %d are known"),
        ("alice:x\nAlice:y", "line 2: alice is in it twice"),
        ("alice:x::::/h::quota_rule=Trash:storage=1G", "line 1: quota"),
    ],
)
def test_faulty_lines_are_named(line, why):
    with pytest.raises(FileFault) as caught:
        parse_passwd_file(line.encode() + b"\n", fold_case=True)

    assert why in str(caught.value)


def test_all_faults_are_told_up_to_a_limit():
    with pytest.raises(FileFault) as caught:
        parse_passwd_file(b":x\n" * 12, fold_case=True)

    assert str(caught.value).count("there is no user") == 10
    assert str(caught.value).endswith("; and 2 more")


def test_a_last_line_without_its_end_is_being_written():
    with pytest.raises(FileFault, match="being written"):
        parse_passwd_file(b"alice:x\nbo", fold_case=True)


def test_octets_that_are_no_text():
    with pytest.raises(FileFault, match="line 2: not UTF-8"):
        parse_passwd_file(b"a:x\n\xff:x\n", fold_case=True)
