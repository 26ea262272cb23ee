"""`lmtpd trace`: from the queue id that smtpd tells to the file in the mailbox, with the real Postfix."""

import json

import pytest

from lmtpd.__main__ import main
from tests.support import maildirs
from tests.support.polling import wait_for
from tests.support.site import SENDER

pytestmark = [pytest.mark.system, pytest.mark.xdist_group("postfix")]

MESSAGE = b"Message-ID: <traced@example.org>\r\nSubject: find me\r\n\r\nhello\r\n"


def trace(site, query, capsys):
    main(["trace", query, "--json", "--state", str(site.server.state)])
    return json.loads(capsys.readouterr().out)


def traced(site, query, count, capsys):
    return wait_for(lambda: len(found := trace(site, query, capsys)) == count and found, f"{count} rows")


def test_message_is_followed_from_its_queue_id_to_its_file(site, capsys):
    maildir = site.mailbox("follow@example.org")
    queue_id = site.deliver(["follow@example.org", "nobody-here@example.org"], MESSAGE)

    found = {row["recipient"]: row for row in traced(site, queue_id, 2, capsys)}
    delivered, refused = found["follow@example.org"], found["nobody-here@example.org"]
    (path,) = [stored.path for stored in maildirs.messages(maildir)]
    assert (delivered["outcome"], delivered["sender"], delivered["client"]) == ("delivered", SENDER, "unix")
    assert delivered["message_id"] == "<traced@example.org>"
    assert delivered["now"] == f"new/{path.name}"
    assert delivered["mailbox"] == str(maildir)
    assert set(delivered["phases"]) >= {"resolve", "receive", "stage", "sync", "record", "publish", "reply"}
    assert (refused["outcome"], refused["reply"][:9]) == ("refused", "550 5.1.1")
    assert refused["cause"].startswith("unknown: ")

    # Read, and then filed away.
    (maildir / "cur").mkdir(exist_ok=True)
    path.rename(maildir / "cur" / f"{path.name}:2,S")
    assert trace(site, path.name, capsys)[0]["now"] == f"cur/{path.name}:2,S"
    for name in ("new", "cur", "tmp"):
        (maildir / ".Kept" / name).mkdir(parents=True)
    (maildir / "cur" / f"{path.name}:2,S").rename(maildir / ".Kept" / "cur" / f"{path.name}:2,S")
    for query in (queue_id, "<traced@example.org>", "follow@example.org", SENDER, path.name):
        (row,) = [row for row in trace(site, query, capsys) if row["file"] == path.name]
        assert row["now"] == f"moved to .Kept/cur/{path.name}:2,S"


def test_every_attempt_is_told(site, capsys):
    maildir = site.mailbox("slow@example.org")
    (maildir / "new").write_text("in the way")
    queue_id = site.postfix.smtp(SENDER, ["slow@example.org"], MESSAGE)
    wait_for(lambda: "deferred" in {row["outcome"] for row in trace(site, queue_id, capsys)}, "a deferral")
    (maildir / "new").unlink()
    site.postfix.flush()
    site.postfix.wait_until_empty()

    found = wait_for(
        lambda: (rows := trace(site, queue_id, capsys))[0]["outcome"] == "delivered" and rows, "the delivery"
    )
    assert len(found) >= 2
    assert {row["outcome"] for row in found[1:]} == {"deferred"}
    assert all(row["cause"].startswith("mailbox_unusable: ") for row in found[1:])
    assert [row["attempt"] for row in found] == list(range(len(found), 0, -1))
