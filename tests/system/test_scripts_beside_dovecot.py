"""The scripts that move mail, beside Dovecot's IMAP server and while lmtpd delivers into the same Maildir."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence

import pytest

from scripts import dedup, expire, exporting, importing
from scripts import make as making
from storage import mbox
from storage.outgoing import header_values
from tests.support.dovecot import OWNER, Dovecot, dovecot
from tests.support.imap_view import deliveries, view
from tests.support.mailbox import Mailbox, old, server_of_owner, subjects
from tests.support.postfix import public_folder
from tests.support.requirements import program
from tests.support.scripting import runner
from tests.support.server import Server

pytestmark = [pytest.mark.system, pytest.mark.xdist_group("dovecot")]

CONFIG = f"""\
[server]
run_as = "{OWNER}"
"""

Main = Callable[[Sequence[str]], int]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with server_of_owner("scripts", CONFIG) as server:
        yield server


@pytest.fixture(scope="module")
def reader(server: Server) -> Iterator[Dovecot]:
    with dovecot(server.mail) as instance:
        yield instance


@pytest.fixture
def mailbox(server: Server, reader: Dovecot, request: pytest.FixtureRequest) -> Iterator[Mailbox]:
    """A mailbox of the test's own, with three messages that a reader has seen, one answered and labelled."""
    user = request.node.name.removeprefix("test_")[:40]
    box = Mailbox(server, reader, user)
    box.deliver(*(b"Subject: old %d\r\n\r\ntext\r\n" % number for number in range(3)))
    _, messages = box.view()
    box.store(min(messages), "(\\Answered \\Seen work)")
    box.store(min(messages) + 1, "(\\Flagged)")
    yield box
    box.client.logout()
    assert "Error" not in reader.log, reader.log
    assert "Corrupt" not in reader.log, reader.log


def test_import(mailbox, tmp_path, capfd):
    validity, before = mailbox.view()
    (tmp_path / "mbox").write_bytes(
        b"".join(
            b"From a@b Mon Jan  5 10:00:00 2015\nStatus: RO\nX-Status: F\nX-Keywords: work play\n"
            b"Subject: in %04d\n\ntext\n\n" % number
            for number in range(300)
        )
    )
    script = runner(importing.main, capfd)

    with deliveries(mailbox.server, mailbox.address) as live:
        result = script(mailbox.maildir, tmp_path / "mbox")
        assert result.code == 0, result.err
        mailbox.client.noop()
        script(mailbox.maildir, tmp_path / "mbox", "--into", "Archive/2015")

    validity_now, now = mailbox.view()
    assert validity_now == validity
    assert old(now) == old(before)
    assert subjects(now, "live") == sorted(live)
    incoming = [now[uid] for uid in sorted(now) if now[uid].subject.startswith("in")]
    # UIDs are in the order of the mbox.
    assert [seen.subject for seen in incoming] == [f"in {number:04}" for number in range(300)]
    assert {seen.flags for seen in incoming} == {frozenset({"\\Seen", "\\Flagged", "work", "play"})}
    assert {seen.date for seen in incoming} == {"05-Jan-2015 10:00:00 +0000"}
    assert len(mailbox.view("Archive.2015")[1]) == 300
    assert b"Archive.2015" in b" ".join(mailbox.client.lsub()[1])


def test_export(mailbox, tmp_path, capfd):
    before = mailbox.view()
    script = runner(exporting.main, capfd)

    with deliveries(mailbox.server, mailbox.address) as live:
        result = script(mailbox.maildir, "--format", "mbox", "--output", tmp_path / "mbox")
        assert result.code == 0, result.err

    exported = {
        header_values(each.content, b"subject")[0].decode().strip(): each
        for each in mbox.read((tmp_path / "mbox").read_bytes())
    }
    assert {"old 0", "old 1", "old 2"} <= set(exported) <= {"old 0", "old 1", "old 2", *live}
    assert (exported["old 0"].flags, exported["old 0"].keywords) == ("RS", ("work",))
    assert exported["old 1"].flags == "F"
    validity, now = mailbox.view()
    assert (validity, old(now)) == (before[0], before[1])


def test_import_of_what_dovecot_wrote_as_mbox(mailbox, reader, capfd):
    with public_folder("mbox") as target:
        shutil.chown(target, OWNER, OWNER)
        location = f"mail_location=mbox:{target}:INBOX={target}/INBOX"
        command = [program("doveadm"), "-c", reader.folder / "dovecot.conf", "-o", location, "import"]
        subprocess.run(
            [*command, "-u", "writer@example.org", f"maildir:{mailbox.maildir}", "", "ALL"], check=True
        )
        assert (target / "INBOX").read_bytes().startswith(b"From ")
        _import_and_compare(mailbox, reader, target, capfd)


def _import_and_compare(mailbox, reader, target, capfd):
    back = mailbox.maildir.parent / "back"
    assert runner(making.main, capfd)(back, "--owner", OWNER).code == 0

    result = runner(importing.main, capfd)(back, target)

    assert result.code == 0, result.out + result.err
    client = reader.imap("back@example.org")
    _, found = view(client)
    client.logout()
    assert sorted(map(repr, found.values())) == sorted(map(repr, mailbox.view()[1].values()))


def test_expire(mailbox, capfd):
    mailbox.deliver(*(b"Subject: more %d\r\n\r\ntext\r\n" % number for number in range(200)))
    validity, before = mailbox.view()
    script = runner(expire.main, capfd)

    with deliveries(mailbox.server, mailbox.address) as live:
        # All but the newest 50 or so go: first those that were there before.
        result = script(mailbox.maildir, "--keep", "INBOX=50", "--json")
        assert result.code == 0, result.err
        mailbox.client.noop()
    validity_now, now = mailbox.view()

    gone = {str(fact["name"]) for fact in result.facts if fact["kind"] == "expired"}
    assert len(gone) >= 153
    assert validity_now == validity
    assert set(before) & set(now) == {uid for uid in before if uid in now and now[uid] == before[uid]}
    assert len(now) == len(before) + len(live) - len(gone)
    assert not old(now)
    folders = b" ".join(line for line in mailbox.client.list()[1] if isinstance(line, bytes))
    assert b"trash" not in folders.lower()
    # Started as root, it has worked with the rights of the mailbox's owner.
    assert {path.owner() for path in mailbox.maildir.rglob("*")} == {OWNER}

    assert script(mailbox.maildir, "--undo").code == 0
    mailbox.client.noop()
    _, back = mailbox.view()
    # Dovecot has seen that they were gone, so they have new UIDs; all else is as it was.
    assert sorted(map(repr, old(back).values())) == sorted(map(repr, old(before).values()))
    assert subjects(back, "more") == subjects(before, "more")
    assert subjects(back, "live") == sorted(live)


def test_expire_and_undo_between_two_looks(mailbox, capfd):
    before = mailbox.view()
    script = runner(expire.main, capfd)

    assert script(mailbox.maildir, "--keep", "INBOX=0").code == 0
    assert script(mailbox.maildir, "--undo").code == 0
    mailbox.client.noop()

    assert mailbox.view() == before


def test_expire_into_the_trash_that_users_see(mailbox, capfd):
    _, before = mailbox.view()
    script = runner(expire.main, capfd)

    result = script(mailbox.maildir, "--keep", "INBOX=0", "--trash-folder", "Trash")

    assert result.code == 0, result.err
    mailbox.client.noop()
    assert mailbox.view()[1] == {}
    _, trash = mailbox.view("Trash")
    assert sorted(map(repr, trash.values())) == sorted(map(repr, before.values()))


def test_dedup(mailbox, capfd):
    _, before = mailbox.view()
    for _ in range(3):
        mailbox.client.select("INBOX")
        mailbox.client.uid("COPY", "1:*", "INBOX")
    validity, copies = mailbox.view()
    assert len(copies) == 8 * len(before)
    youngest = max(copies)
    mailbox.store(youngest, "(\\Answered play)")
    script = runner(dedup.main, capfd)

    with deliveries(mailbox.server, mailbox.address) as live:
        result = script(mailbox.maildir, "--remove")
        assert result.code == 0, result.err
        mailbox.client.noop()

    validity_now, now = mailbox.view()
    assert validity_now == validity
    assert subjects(now, "live") == sorted(live)
    kept = old(now)
    # UIDs and dates of the oldest, flags of all copies.
    assert set(kept) == set(before)
    for uid, seen in kept.items():
        assert (seen.content, seen.date) == (before[uid].content, before[uid].date)
        assert seen.flags >= before[uid].flags
    assert any(seen.flags >= {"\\Answered", "play"} for seen in kept.values())

    assert script(mailbox.maildir, "--undo").code == 0
    mailbox.client.noop()
    assert len(old(mailbox.view()[1])) == len(copies)


def test_dedup_with_links(mailbox, capfd):
    mailbox.client.create("Copies")
    mailbox.client.uid("COPY", "1:*", "Copies")
    # As a copy by other means is: another file with the same name, date and octets.
    folder = mailbox.maildir / ".Copies"
    for path in folder.glob("[cn][ue][rw]/*"):
        content, status = path.read_bytes(), path.stat()
        path.unlink()
        path.write_bytes(content)
        shutil.chown(path, OWNER, OWNER)
        path.chmod(status.st_mode)
        os.utime(path, ns=(status.st_mtime_ns, status.st_mtime_ns))
    before = mailbox.view(), mailbox.view("Copies")

    with deliveries(mailbox.server, mailbox.address) as live:
        result = runner(dedup.main, capfd)(mailbox.maildir, "--across", "--link", "--json")
        assert result.code == 0, result.err
        mailbox.client.noop()

    assert sum(fact["kind"] == "linked" for fact in result.facts) == 3, result.out
    assert {path.stat().st_nlink for path in folder.glob("[cn][ue][rw]/*")} == {2}
    assert mailbox.view("Copies") == before[1]
    validity, now = mailbox.view()
    assert (validity, old(now)) == before[0]
    assert subjects(now, "live") == sorted(live)


def test_a_broken_tree_stops_no_other_and_harms_nothing(mailbox, tmp_path, capfd):
    before = mailbox.view()
    broken = mailbox.maildir.parent / "broken"
    for part in ("cur", "new", ".A/cur", "lmtpd-trash/something", ".B"):
        (broken / part).mkdir(parents=True)
    (broken / "tmp").write_bytes(b"a file")
    (broken / ".C").write_bytes(b"a file")
    (broken / "cur/directory:2,S").mkdir()
    (broken / ".A/cur/1.x:2,S").write_bytes(b"Subject: x\n\n")
    for path in (broken, *broken.rglob("*")):
        shutil.chown(path, OWNER, OWNER)
    everybody = ("--all", "--mailboxes", f"{mailbox.server.mail}/{{domain}}/{{user}}")
    (tmp_path / "mbox").write_bytes(b"From a@b Tue Nov 24 10:00:00 2026\nSubject: x\n\n")

    results = {
        "export": runner(exporting.main, capfd)(*everybody, "--format", "tar", "--output", tmp_path / "out"),
        "dedup": runner(dedup.main, capfd)(*everybody, "--remove"),
        "expire": runner(expire.main, capfd)(*everybody, "--keep", "Junk=1d"),
    }
    assert {name: (result.code, result.err) for name, result in results.items()} == {
        "export": (0, ""),
        "dedup": (0, ""),
        "expire": (0, "maildir-expire: --keep Junk: no such folder, nothing to take\n"),
    }
    imported = runner(importing.main, capfd)(broken, tmp_path / "mbox")

    assert imported.code == os.EX_NOPERM
    assert "Not a directory" in imported.err
    assert mailbox.view() == before
    shutil.rmtree(broken)
