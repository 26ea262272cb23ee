from pathlib import Path

from lmtpd.protocol.addresses import Address
from lmtpd.recipients.directory import Directory
from lmtpd.recipients.mailbox import Mailbox, Unavailable, Unknown
from tests.support.recipients import source


def test_explain_says_what_is_in_the_way(root: Path):
    (root / "example.org/file").write_text("")

    steps = {step.question: step.answer for step in source(root).explain(Address("file", "example.org"))}

    assert "not a directory" in steps["on disk"]


def test_postmaster_without_a_domain_has_a_mailbox_by_setting(root: Path):
    (root / "example.org/postmaster").mkdir()
    directory = Directory([source(root)], postmaster=Address("postmaster", "example.org"))

    found = directory.find(Address("PostMaster", ""))

    assert isinstance(found, Mailbox)
    assert found.address == "postmaster@example.org"
    assert isinstance(directory.find(Address("alice", "")), Unknown)


def test_the_postmaster_by_setting_may_be_in_a_domain_that_means_another(root: Path):
    (root / "example.org/postmaster").mkdir()
    directory = Directory(
        [source(root)],
        postmaster=Address("postmaster", "example.net"),
        same_as={"example.net": "example.org"},
    )

    found = directory.find(Address("postmaster", ""))

    assert isinstance(found, Mailbox)
    assert found.address == "postmaster@example.org"


def test_the_first_source_that_knows_answers(root: Path, tmp_path: Path):
    (tmp_path / "other/example.org/dave").mkdir(parents=True)
    directory = Directory([source(root), source(tmp_path / "other")], postmaster=Address("p", "x"))

    found = directory.find(Address("dave", "example.org"))

    assert isinstance(found, Mailbox)
    assert found.maildir.root == str(tmp_path / "other")
    assert isinstance(directory.find(Address("erin", "example.org")), Unknown)


def test_a_source_in_trouble_is_not_passed_over(root: Path, tmp_path: Path):
    directory = Directory([source(tmp_path / "gone"), source(root)], postmaster=Address("p", "x"))

    assert isinstance(directory.find(Address("alice", "example.org")), Unavailable)


def test_no_source_knows_nobody():
    assert isinstance(Directory([], postmaster=Address("p", "x")).find(Address("a", "b")), Unknown)


def test_explain_tells_what_find_does(root: Path):
    directory = Directory([source(root)], postmaster=Address("postmaster", "example.org"))

    steps = {step.question: step.answer for step in directory.explain(Address("Alice+x", "example.org"))}
    missing = {step.question: step.answer for step in directory.explain(Address("bob", "example.org"))}
    unsafe = {step.question: step.answer for step in directory.explain(Address("../x", "example.org"))}
    postmaster = {step.question: step.answer for step in directory.explain(Address("postmaster", ""))}

    assert steps["Maildir"] == f"{root}/example.org/alice"
    assert steps["on disk"] == "a directory"
    assert missing["on disk"] == "missing"
    assert unsafe["path"].startswith("none")
    assert postmaster["Postmaster without a domain"] == "stands for postmaster@example.org"
