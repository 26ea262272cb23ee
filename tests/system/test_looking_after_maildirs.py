"""The admin scripts on Maildirs that Dovecot serves: what an IMAP client had before, it has afterwards."""

import imaplib
import os
import random
import re
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.support.dovecot import OWNER, Dovecot, dovecot
from tests.support.lmtp_client import Reply
from tests.support.mailbox import server_of_owner
from tests.support.polling import wait_for
from tests.support.script_runs import fork, run, start
from tests.support.server import Server

pytestmark = [pytest.mark.system, pytest.mark.xdist_group("dovecot-scripts")]

CONFIG = f'[server]\nrun_as = "{OWNER}"\n'
DATE = '"01-Feb-2024 03:04:05 +0000"'


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with server_of_owner("scripts", CONFIG) as server:
        yield server


@pytest.fixture(scope="module")
def reader(server: Server) -> Iterator[Dovecot]:
    with dovecot(server.mail) as instance:
        yield instance


def fill(client: imaplib.IMAP4, folder: str, count: int) -> None:
    """Put messages with flags, a keyword and a date of long ago into a folder."""
    for number in range(count):
        text = b"From: a%d@example.org\r\nSubject: %d\r\n\r\nline\r\n" % (number, number)
        flags = r"(\Seen $Important)" if number % 2 else r"(\Flagged)"
        assert client.append(folder, flags, DATE, text)[0] == "OK"


def seen_by(client: imaplib.IMAP4, folder: str) -> dict[str, Any]:  # Any: bytes, or pairs of them
    """Return everything that a client may hold on to."""
    _, (count,) = client.select(folder)
    _, validity = client.response("UIDVALIDITY")
    messages = []
    if int(count or 0):
        _, data = client.fetch("1:*", "(UID FLAGS INTERNALDATE RFC822.SIZE BODY.PEEK[])")
        for about, body in [each for each in data if isinstance(each, tuple)]:
            # Only a message that nobody had opened before is recent.
            about = re.sub(rb" ?\\Recent", b"", re.sub(rb"\{\d+\}", b"", about))
            messages.append((about, body))
    return {"validity": validity, "messages": messages}


def log_of(reader: Dovecot) -> str:
    return "\n".join(
        line for line in reader.log.splitlines() if re.search(r"Error|Warning|Panic|Corrupt|Fatal", line)
    )


def longer(match: re.Match[str]) -> str:
    return f",S={int(match[1] or 0) + 7}"


def spoil_names(maildir: Path) -> int:
    """Make every S= wrong, in Dovecot's list as well, as a broken program would have named them."""
    listed = maildir / "dovecot-uidlist"
    text = listed.read_text()
    paths = [path for path in (maildir / "cur").iterdir() if ",S=" in path.name]
    for path in paths:
        wrong = re.sub(r",S=(\d+)", longer, path.name)
        path.rename(path.with_name(wrong))
        text = text.replace(path.name.partition(":")[0], wrong.partition(":")[0])
    listed.write_text(text)
    return len(paths)


def without_sizes(seen: dict[str, Any]) -> list[bytes]:  # Any: as above
    return [re.sub(rb"RFC822.SIZE \d+ ?| BODY.*", b"", about) for about, _ in seen["messages"]]


def test_looking_changes_nothing(server, reader):
    client = reader.imap("look@example.org")
    fill(client, "INBOX", 5)
    client.create("Work")
    fill(client, "Work", 3)
    before = {folder: seen_by(client, folder) for folder in ("INBOX", "Work")}
    maildir = server.maildir("look@example.org")
    files = sorted(str(path) for path in maildir.rglob("*"))

    checked = run("check", maildir, "--contents", "--json")
    counted = run("stats", maildir, "--json")
    cleaned = run("clean", maildir, "--empty-folders", "0")

    assert (checked.code, counted.code, cleaned.code) == (0, 0, 0), checked.out + cleaned.err
    assert '"kind": "total", "maildirs": 1, "messages": 8' in counted.out
    assert sorted(str(path) for path in maildir.rglob("*")) == files
    assert {folder: seen_by(client, folder) for folder in ("INBOX", "Work")} == before
    client.logout()
    assert not log_of(reader)


def test_a_repair_and_its_undo_keep_uids_flags_and_dates(server, reader):
    client = reader.imap("mend@example.org")
    fill(client, "INBOX", 6)
    before = seen_by(client, "INBOX")
    maildir = server.maildir("mend@example.org")
    client.close()
    assert spoil_names(maildir) == 6

    spoilt = sorted(path.name for path in (maildir / "cur").iterdir())
    mended = run("check", maildir, "--repair")
    after = seen_by(client, "INBOX")
    again = run("check", maildir, "--contents")
    client.close()
    undone = run("check", maildir, "--undo")
    names = sorted(path.name for path in (maildir / "cur").iterdir())

    assert (mended.code, again.code, undone.code) == (0, 0, 0), again.out
    assert after["validity"] == before["validity"]
    assert without_sizes(after) == without_sizes(before)
    assert [body for _, body in after["messages"]] == [body for _, body in before["messages"]]
    assert names == spoilt  # under their old names again
    client.logout()
    assert not log_of(reader)


def test_a_repair_beside_an_open_session(server, reader):
    client = reader.imap("open@example.org")
    fill(client, "INBOX", 4)
    before = seen_by(client, "INBOX")
    maildir = server.maildir("open@example.org")
    for path in (maildir / "cur").iterdir():
        base, _, flags = path.name.partition(":2,")
        path.rename(path.with_name(f"{base}:2,{flags[::-1]}{flags}"))  # out of order, and twice

    run("check", maildir, "--repair")
    client.noop()
    client.store("1", "+FLAGS", r"(\Answered)")

    after = seen_by(client, "INBOX")
    assert after["validity"] == before["validity"]
    assert without_sizes(after)[1:] == without_sizes(before)[1:]
    assert b"\\Answered" in without_sizes(after)[0]
    client.logout()
    assert not log_of(reader)


def test_folders_that_were_made_are_dovecots_own(server, reader):
    maildir = server.maildir("make@example.org")

    made = run(
        "make", maildir, "--owner", OWNER, "--folder", "Work/Äpfel", "--folder", "Empty", "--subscribe"
    )

    assert made.code == 0, made.err
    client = reader.imap("make@example.org")
    _, listed = client.lsub()
    assert any(line.endswith(b"Work.&AMQ-pfel") for line in listed), listed
    fill(client, "Work.&AMQ-pfel", 1)
    assert len(seen_by(client, "Work.&AMQ-pfel")["messages"]) == 1
    client.unsubscribe("Empty")
    client.close()
    removed = run("clean", maildir, "--empty-folders", "0", "--json")
    assert '"kind": "removed", "folder": "Empty"' in removed.out
    assert not (maildir / ".Empty").exists()
    client.logout()
    assert not log_of(reader)


def test_while_mail_is_delivered_and_read(server, reader):
    address, count = "busy@example.org", 100
    maildir = server.maildir(address)
    client = reader.imap(address)
    fill(client, "INBOX", 1)
    validity = seen_by(client, "INBOX")["validity"]
    known: dict[bytes, bytes] = {}

    def deliver() -> None:
        with server.client() as sender:
            for number in range(count):
                body = b"Subject: %d\r\n\r\nx\r\n" % number
                replies.extend(sender.deliver("s@example.org", [address], body))
            sender.quit()

    replies: list[Reply] = []
    thread = threading.Thread(target=deliver)
    thread.start()
    scripts = [start("check", maildir, "--repair", "--contents"), start("clean", maildir)]
    while thread.is_alive() or any(script.poll() is None for script in scripts):
        client.select("INBOX")
        _, data = client.fetch("1:*", "(UID BODY.PEEK[HEADER.FIELDS (SUBJECT)])")
        for about, body in [each for each in data if isinstance(each, tuple)]:
            match = re.search(rb"UID (\d+)", about)
            assert match
            assert known.setdefault(match[1], body) == body  # a UID is one message for ever
        run("check", maildir, "--repair")
        client.store("1", "+FLAGS" if len(known) % 2 else "-FLAGS", r"(\Flagged)")
    thread.join()

    after = seen_by(client, "INBOX")
    assert [reply.code for reply in replies] == [250] * count
    assert [script.returncode for script in scripts] == [0, 0]
    assert after["validity"] == validity
    subjects = [int(body.split(b"Subject: ")[1].split(b"\r\n")[0]) for _, body in after["messages"]]
    assert sorted(subjects) == sorted([0, *range(count)])
    client.logout()
    assert not log_of(reader)


def logs(maildir: Path) -> int:
    return len(list(maildir.glob("maildir-check.undo.*")))


def has_more_logs(maildir: Path, before: int) -> bool:
    return logs(maildir) > before


def test_killed_half_way_and_run_again(server, reader):
    client = reader.imap("kill@example.org")
    fill(client, "INBOX", 40)
    before = seen_by(client, "INBOX")
    client.logout()
    maildir = server.maildir("kill@example.org")
    chance = random.Random(20261124)

    for _ in range(6):
        spoil_names(maildir)
        before_it = logs(maildir)
        pid = fork("check", maildir, "--repair")
        # The first step is the undo log; how far it gets from there is chance.
        wait_for(partial(has_more_logs, maildir, before_it), "the first step")
        time.sleep(chance.random() * 0.02)
        with suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)
        os.waitpid(pid, 0)

        assert run("check", maildir, "--repair").code == 0

    assert run("check", maildir, "--contents").code == 0
    client = reader.imap("kill@example.org")
    after = seen_by(client, "INBOX")
    assert after["validity"] == before["validity"]
    assert without_sizes(after) == without_sizes(before)
    client.logout()
    assert not log_of(reader)


def test_a_broken_tree(server, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "treasure").write_text("x")
    maildir = server.maildir("broken@example.org")
    for part in ("cur", "new", "tmp", ".A/cur", ".A/new", ".B"):
        (maildir / part).mkdir(parents=True, exist_ok=True)
    os.mkfifo(maildir / "cur/1.fifo:2,")
    (maildir / "cur/2.link:2,").symlink_to(outside / "treasure")
    (maildir / ".A/tmp").symlink_to(outside)
    (maildir / ".C").symlink_to(outside)
    (maildir / ".B/cur").write_text("a file")
    (maildir / "dovecot-uidlist").mkdir()
    (maildir / "maildirsize").symlink_to("/dev/zero")
    (maildir / "subscriptions").write_bytes(os.urandom(3000))
    (maildir / "new").rmdir()
    (maildir / "new").symlink_to(outside)
    (maildir / os.fsdecode(b"cur/\xff\xfe.x:2,\n")).touch()
    for path in maildir.rglob("*"):
        os.chown(path, 8, 8, follow_symlinks=False)
    before = {path: path.stat() for path in (outside, outside / "treasure")}

    for name, *arguments in (
        ("check", "--contents", "--repair"),
        ("check", "--undo"),
        ("clean", "--empty-folders", "0"),
        ("stats", "--senders"),
        ("make", "--folder", "A", "--folder", "D", "--subscribe"),
        ("check",),
    ):
        done = run(name, maildir, *arguments)
        assert done.code in {0, 1, 64, 65, 66, 73, 74, 75, 77}, (name, done)

    assert {path: path.stat()[:6] for path in before} == {path: status[:6] for path, status in before.items()}
    assert [path.name for path in outside.iterdir()] == ["treasure"]
