import os
import pwd
from stat import S_IMODE

import pytest

from scripts.make import main
from tests.support.requirements import need
from tests.support.scripting import runner


@pytest.fixture
def make(capfd):
    return runner(main, capfd)


def modes(path):
    return {str(each.relative_to(path)): oct(S_IMODE(each.stat().st_mode)) for each in path.rglob("*")}


def test_a_maildir_with_folders_and_subscriptions(tmp_path, make):
    path = tmp_path / "bob"

    result = make(path, "--folder", "Lists/python", "--subscribe", "--json")

    assert result.code == 0
    assert [(fact["kind"], fact["folder"]) for fact in result.facts] == [
        ("made", "INBOX"),
        ("made", "Lists/python"),
        ("subscribed", "Lists/python"),
    ]
    assert modes(path) == {
        **dict.fromkeys(("tmp", "new", "cur"), "0o700"),
        **dict.fromkeys((".Lists.python", *(f".Lists.python/{x}" for x in ("tmp", "new", "cur"))), "0o700"),
        ".Lists.python/maildirfolder": "0o600",
        "subscriptions": "0o600",
    }
    assert (path / "subscriptions").read_text() == "V\t2\n\nLists\tpython\n"


def test_a_second_run_changes_nothing(tmp_path, make):
    arguments = (tmp_path / "bob", "--folder", "A", "--subscribe")
    make(*arguments)

    again = make(*arguments)

    assert (again.code, again.out, again.err) == (0, "", "")


def test_a_dry_run_makes_nothing(tmp_path, make):
    result = make(tmp_path / "bob", "--folder", "A", "--dry-run")

    assert result.out.splitlines() == [f"{tmp_path}/bob: would make INBOX", f"{tmp_path}/bob: would make A"]
    assert not list(tmp_path.iterdir())


def test_folders_have_the_mode_of_their_maildir(tmp_path, make):
    make(tmp_path / "bob", "--mode", "2770")

    make(tmp_path / "bob", "--folder", "A")

    assert modes(tmp_path / "bob")[".A/new"] == "0o2770"


def test_the_layout_of_the_configuration(tmp_path, make):
    result = make(tmp_path / "bob", "--folder", "A/B", "--set", "mailboxes.layout=fs")

    assert result.code == 0
    assert (tmp_path / "bob/A/B/cur").is_dir()
    assert not (tmp_path / "bob/A/B/maildirfolder").exists()


def test_names_as_the_configuration_writes_them(tmp_path, make):
    settings = ("--mailboxes", f"{tmp_path}/{{user}}", "--set", "mailboxes.folder_names=utf-8")
    (tmp_path / "bob").mkdir()

    for which in (("--all",), ("--user", "bob"), (tmp_path / "bob",)):
        result = make(*which, *settings, "--folder", "Äpfel", "--subscribe")

        assert result.code == 0
        assert (tmp_path / "bob/.Äpfel/cur").is_dir()
        assert not (tmp_path / "bob/.&AMQ-pfel").exists()
        assert "Äpfel" in (tmp_path / "bob/subscriptions").read_text()


def test_a_user_of_the_configuration(tmp_path, make):
    (tmp_path / "example.org").mkdir()
    settings = ("--mailboxes", f"{tmp_path}/{{domain}}/{{user}}", "--set", "mailboxes.create=true")

    result = make("--user", "Bob+detail@example.org", *settings)

    assert result.code == 0
    assert (tmp_path / "example.org/bob/cur").is_dir()


def test_all_users_of_the_configuration(tmp_path, make):
    for user in ("alice", "bob"):
        (tmp_path / user).mkdir()

    result = make("--all", "--mailboxes", f"{tmp_path}/{{user}}", "--folder", "Junk", "--json")

    assert result.code == 0
    assert {fact["user"] for fact in result.facts if fact["folder"] == "Junk"} == {"alice", "bob"}


def test_as_root_all_belongs_to_the_owner(tmp_path, make):
    need("root")
    owner = pwd.getpwnam("mail")

    result = make(tmp_path / "bob", "--owner", "mail", "--folder", "A", "--mode", "2770")

    assert result.code == 0
    made = [tmp_path / "bob", *(tmp_path / "bob").rglob("*")]
    assert {(each.stat().st_uid, each.stat().st_gid) for each in made} == {(owner.pw_uid, owner.pw_gid)}
    assert S_IMODE((tmp_path / "bob").stat().st_mode) == 0o2770


def test_a_folder_more_is_made_as_him_whose_the_maildir_is(tmp_path, make):
    need("root")
    make(tmp_path / "bob", "--owner", "mail")

    result = make(tmp_path / "bob", "--folder", "Junk")

    assert (result.code, result.err) == (0, "")
    assert (tmp_path / "bob/.Junk/cur").owner() == "mail"


def test_somebody_elses_maildir_is_not_taken(tmp_path, make):
    need("root")
    make(tmp_path / "bob", "--owner", "mail")

    result = make(tmp_path / "bob", "--owner", "daemon")

    assert result.code == os.EX_NOPERM
    assert "belongs to user 8, not 1" in result.err


def test_what_was_left_half_made_is_finished(tmp_path, make):
    need("root")
    (tmp_path / "bob").mkdir()  # killed before it could be given away

    result = make(tmp_path / "bob", "--owner", "mail")

    assert result.code == 0
    assert (tmp_path / "bob").owner() == (tmp_path / "bob/cur").owner() == "mail"


@pytest.mark.parametrize(
    "arguments, code, text",
    [
        ([], os.EX_USAGE, "which Maildir?"),
        (["x", "y"], os.EX_USAGE, "'y' is one too many"),
        (["--all"], os.EX_CONFIG, "mailboxes.path"),
        (["x", "--owner", "no-such-user"], os.EX_NOUSER, "no user 'no-such-user'"),
        (["x", "--mode", "0777"], os.EX_USAGE, "others never have a right"),
        (["x", "--mode", "rwx"], os.EX_USAGE, "write 0700"),
        (["x", "--folder", "a.b"], os.EX_USAGE, "a dot"),
        (["--user", "@", "--mailboxes", "/x/{user}"], os.EX_DATAERR, "@"),
    ],
)
def test_what_cannot_be_done_is_said(make, tmp_path, monkeypatch, arguments, code, text):
    monkeypatch.chdir(tmp_path)

    result = make(*arguments)

    assert result.code == code
    assert text in result.err
    assert not list(tmp_path.iterdir())


def test_a_link_in_place_of_the_maildir_is_refused(tmp_path, make):
    (tmp_path / "real").mkdir()
    (tmp_path / "bob").symlink_to(tmp_path / "real")

    result = make(tmp_path / "bob")

    assert result.code == os.EX_NOINPUT
    assert "is a link to" in result.err
    assert not list((tmp_path / "real").iterdir())


def test_a_link_in_place_of_a_directory_is_refused(tmp_path, make):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    make(tmp_path / "bob")
    (tmp_path / "bob/.A").symlink_to(elsewhere)

    result = make(tmp_path / "bob", "--folder", "A")

    assert result.code == os.EX_NOPERM
    assert not list(elsewhere.iterdir())
