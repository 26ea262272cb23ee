from lmtpd.recipients.everyone import everyone
from storage.maildir import MaildirPath


def addresses(root, *components):
    return [known.address for known in everyone(str(root), components)]


def make(root, *paths):
    for path in paths:
        (root / path).mkdir(parents=True)


def test_directories_are_the_list_of_users(tmp_path):
    make(tmp_path, "example.org/bob", "example.org/alice", "example.net/carol")

    found = list(everyone(str(tmp_path), ("{domain}", "{user}")))

    assert [known.address for known in found] == ["carol@example.net", "alice@example.org", "bob@example.org"]
    assert found[0].maildir == MaildirPath(str(tmp_path), ("example.net", "carol"))


def test_text_around_a_placeholder_is_asked_for(tmp_path):
    make(tmp_path, "mail-bob/Maildir", "mail-eve/other", "bob/Maildir")

    assert addresses(tmp_path, "mail-{user}", "Maildir") == ["bob"]


def test_a_placeholder_that_comes_twice_means_one_value(tmp_path):
    make(tmp_path, "a.org/bob@a.org", "a.org/eve@b.org")

    assert addresses(tmp_path, "{domain}", "{user}@{domain}") == ["bob@a.org"]


def test_links_files_and_names_of_nobody_are_passed_over(tmp_path):
    make(tmp_path, "bob", ".hidden", "b\nb")
    (tmp_path / "link").symlink_to(tmp_path / "bob")
    (tmp_path / "file").touch()

    assert addresses(tmp_path, "{user}") == ["bob"]
