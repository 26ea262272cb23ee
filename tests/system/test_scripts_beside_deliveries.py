"""The scripts that make, count and watch, beside Dovecot's IMAP server and while lmtpd delivers."""

import signal
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from scripts import make, quota, stats
from tests.support.dovecot import OWNER, Dovecot, dovecot
from tests.support.imap_view import deliveries
from tests.support.mailbox import Mailbox, old, server_of_owner, subjects
from tests.support.polling import wait_for
from tests.support.scripting import runner
from tests.support.server import Server
from tests.support.watching import PATIENCE_S, watching

pytestmark = [pytest.mark.system, pytest.mark.xdist_group("dovecot-scripts")]

CONFIG = f'[server]\nrun_as = "{OWNER}"\n[quota]\ndefault = "maildirsize"\n'


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
    box = Mailbox(server, reader, request.node.name.removeprefix("test_")[:40])
    box.deliver(*(b"Subject: old %d\r\n\r\ntext\r\n" % number for number in range(3)))
    _, messages = box.view()
    box.store(min(messages), "(\\Answered \\Seen work)")
    yield box
    box.client.logout()
    assert "Error" not in reader.log, reader.log
    assert "Corrupt" not in reader.log, reader.log


def wait_for_more(live, count=3):
    """Let some more messages arrive."""
    before = len(live)
    wait_for(lambda: len(live) >= before + count, "more deliveries")


def number(value: object) -> int:
    """Take what JSON says to be a number."""
    assert isinstance(value, int)
    return value


def test_quota(mailbox, capfd):
    before = mailbox.view()
    script = runner(quota.main, capfd)
    assert script(mailbox.maildir, "--limit", "50M").code == 0

    with deliveries(mailbox.server, mailbox.address) as live:
        for arguments in ([], ["--count"], ["--recalculate"], ["--limit", "60M"]) * 4:
            wait_for_more(live)
            result = script(mailbox.maildir, *arguments, "--json")
            assert (result.code, result.err) == (0, "")
            # One may be stored, and not answered yet.
            assert number(result.facts[0]["messages"]) <= len(live) + 3 + 1
            mailbox.client.noop()
    validity, now = mailbox.view()

    assert (validity, old(now)) == before
    assert subjects(now, "live") == sorted(live)
    (said,) = script(mailbox.maildir, "--json").facts
    (counted,) = script(mailbox.maildir, "--count", "--json").facts
    assert (said["messages"], said["octets"]) == (counted["messages"], counted["octets"])
    assert said["messages"] == len(now)
    assert said["limit"] == "60M"
    assert (mailbox.maildir / "maildirsize").owner() == OWNER


def test_stats(mailbox, capfd):
    before = mailbox.view()
    script = runner(stats.main, capfd)
    totals: list[int] = []

    with deliveries(mailbox.server, mailbox.address) as live:
        for _ in range(6):
            wait_for_more(live)
            known = len(live)
            result = script(mailbox.maildir, "--senders", "--json")
            assert (result.code, result.err) == (0, "")
            (total,) = [number(fact["messages"]) for fact in result.facts if fact["kind"] == "total"]
            assert known + 3 <= total <= len(live) + 3 + 1
            totals.append(total)
            mailbox.client.noop()
    validity, now = mailbox.view()

    assert totals == sorted(totals)
    assert (validity, old(now)) == before
    assert subjects(now, "live") == sorted(live)


def test_make(mailbox, capfd):
    before = mailbox.view()
    script = runner(make.main, capfd)
    folders = [f"F{number}" for number in range(6)]

    with deliveries(mailbox.server, mailbox.address) as live:
        for folder in folders:
            wait_for_more(live)
            mailbox.client.noop()
            made = script(mailbox.maildir, "--folder", folder, "--subscribe")
            assert (made.code, made.err) == (0, "")
            # From now on a detail of this name leads there.
            with deliveries(mailbox.server, mailbox.address.replace("@", f"+{folder}@")) as detailed:
                wait_for_more(detailed, 1)
            found = mailbox.view(folder)[1]
            assert subjects(found) == sorted(detailed)
    validity, now = mailbox.view()

    assert (validity, old(now)) == before
    assert subjects(now, "live") == sorted(live)
    subscribed = b" ".join(mailbox.client.lsub()[1]).split()
    assert {folder.encode() for folder in folders} <= set(subscribed)
    assert {path.owner() for path in mailbox.maildir.rglob("*")} == {OWNER}


def test_make_where_the_first_message_arrives_at_the_same_time(server, reader, capfd):
    for number in range(5):
        address = f"first{number}@example.org"
        with deliveries(server, address) as live:
            made = runner(make.main, capfd)(server.maildir(address), "--owner", OWNER, "--folder", "A")
            wait_for_more(live, 1)
        assert (made.code, made.err) == (0, "")
        box = Mailbox(server, reader, f"first{number}")
        assert subjects(box.view()[1]) == sorted(live)
        assert box.view("A")[1] == {}
        box.client.logout()


def told(watch, arrivals):
    """Wait until so many arrivals, a deletion, and a flag have been told; end it, and return all facts."""
    facts: list[dict[str, Any]] = []  # Any: what JSON can say
    missing = Counter(arrived=arrivals, flagged=1, deleted=1)
    while missing:
        facts.append(watch.fact())
        # What is marked as deleted and goes at once may be told as gone only.
        kind = "flagged" if facts[-1]["flags"] == "F" else facts[-1]["kind"]
        missing -= Counter([kind])
    watch.process.send_signal(signal.SIGTERM)
    assert watch.process.wait(PATIENCE_S) == 0
    return facts + watch.rest()


def test_watch(mailbox):
    mailbox.deliver(b"Subject: doomed\r\n\r\ntext\r\n")
    validity, before = mailbox.view()
    flagged, copied, doomed = sorted(before)[1:]

    with watching(mailbox.maildir) as watch:
        with deliveries(mailbox.server, mailbox.address) as live:
            wait_for_more(live)
            mailbox.store(flagged, "(\\Flagged)")
            wait_for_more(live)
            mailbox.client.create("Copies")
            mailbox.client.uid("COPY", str(copied), "Copies")
            mailbox.store(doomed, "(\\Deleted)")
            mailbox.client.expunge()
            wait_for_more(live)
        facts = told(watch, len(live) + 1)

    arrived = [
        fact["path"].split(":2,")[0].replace("/new/", "/cur/") for fact in facts if fact["kind"] == "arrived"
    ]
    there = {
        str(path).split(":2,")[0].replace("/new/", "/cur/")
        for path in mailbox.maildir.rglob("[cn][ue][rw]/*")
    }
    # Each once, and what was there before not at all.
    assert len(arrived) == len(set(arrived)) == len(live) + 1
    assert set(arrived) < there
    assert len(there) == len(arrived) + 3
    validity_now, now = mailbox.view()
    assert validity_now == validity
    assert {uid for uid in before if now.get(uid) == before[uid]} == set(before) - {flagged, doomed}
    assert now[flagged].flags == {"\\Flagged"}
    assert subjects(now, "live") == sorted(live)
