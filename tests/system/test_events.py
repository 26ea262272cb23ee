"""Events with real receivers: a command, a unix socket, an HTTP server; also slow, dead and killed ones."""

import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from storage.event_backlog import Standing, standings
from tests.support import maildirs
from tests.support.event_receivers import Event, SocketReceiver, read, receiver, web_server, write_script
from tests.support.polling import wait_for
from tests.support.server import Server

pytestmark = [pytest.mark.system]

ME = "me@example.org"
KILLS = 5


def deliver(server: Server, *recipients: str, count: int = 1) -> list[int]:
    with server.client() as client:
        codes = [
            reply.code
            for number in range(count)
            for reply in client.deliver(ME, recipients, b"Message-ID: <%d@x>\r\n\r\nhello\r\n" % number)
        ]
        client.quit()
    return codes


def standing(server: Server, name: str) -> Standing | None:
    return next(
        (each for each in standings(server.state / "events.db", timeout_s=5) if each.name == name), None
    )


def wait_for_standing(server: Server, name: str, fits: Callable[[Standing], bool], what: str) -> Standing:
    def look() -> Standing | None:
        found = standing(server, name)
        return found if found is not None and fits(found) else None

    return wait_for(look, what)


def files(server: Server, address: str) -> set[str]:
    return {each.name for each in maildirs.files(server.maildir(address))}


def sender_of(server: Server) -> int:
    """Return the process that sends: the one that holds its lock."""
    path = server.state / "events.sender"

    def look() -> int | None:
        text = path.read_text().strip() if path.exists() else ""
        return int(text) if text and Path(f"/proc/{text}").exists() else None

    return wait_for(look, "the sender")


def test_a_command_is_told_of_each_copy_once(tmp_path: Path):
    how, out = write_script(tmp_path)
    with Server(tmp_path, config=receiver("sh", how)) as server:
        assert deliver(server, "a@x.example", "b@x.example", count=3) == [250] * 6

        events = wait_for(lambda: found if len(found := read(out)) >= 6 else None, "six events")

        assert {each["kind"] for each in events} == {"delivered"}
        assert {each["file"] for each in events} == files(server, "a@x.example") | files(
            server, "b@x.example"
        )
        assert len({each["id"] for each in events}) == 6
        assert [each["message_id"] for each in events if each["mailbox"] == "a@x.example"] == [
            f"<{number}@x>" for number in range(3)
        ]
        assert events[0]["sender"] == f"<{ME}>"
        assert events[0]["version"] == 1
        assert events[0]["maildir"] == str(server.maildir(events[0]["mailbox"]))


def test_refusals_and_quotas_are_told_to_who_wants_them(tmp_path: Path):
    how, out = write_script(tmp_path)
    config = "[quota]\ndefault = '0,2M'\nfull = 'reject'\nwarnings = ['50%']\nwarning_command = '/bin/true'\n"
    config += receiver("sh", how, kinds=["refused", "quota"], domains=["x.example"])
    with Server(tmp_path, config=config) as server:
        assert deliver(server, "full@x.example", count=3) == [250, 250, 552]
        assert deliver(server, "full@y.example", count=3) == [250, 250, 552]
        before = wait_for(lambda: found if len(found := read(out)) >= 3 else None, "three events")
        for name in files(server, "full@x.example"):
            (server.maildir("full@x.example") / "new" / name).unlink()
        assert wait_for(lambda: 250 in deliver(server, "full@x.example"), "room again")

        wait_for(
            lambda: any(each.get("state") == "has_room" for each in read(out)), "word that there is room"
        )
        events = read(out)

    refusal = next(each for each in before if each["kind"] == "refused")
    assert refusal["reply"] == "552 5.2.2 Mailbox full"
    assert refusal["cause"] == "quota"
    quotas = [each for each in before if each["kind"] == "quota"]
    assert {(each["state"], each.get("percent")) for each in quotas} >= {("full", None)}
    assert {each["mailbox"] for each in events} == {"full@x.example"}
    assert len([each for each in events if each.get("state") == "full"]) == 1


def test_a_socket_acknowledges_each_event_and_gets_the_rest_again(tmp_path: Path):
    seen: list[str] = []

    def answer(event: Event) -> bytes:
        seen.append(event["id"])
        return b"no\n" if len(seen) == 3 else b"ok\n"

    with (
        SocketReceiver(tmp_path / "receiver", answer) as taken,
        Server(tmp_path, config=receiver("it", f'socket = "{tmp_path}/receiver"', batch=5)) as server,
    ):
        assert deliver(server, "a@x.example", count=5) == [250] * 5

        wait_for(lambda: len({each["id"] for each in taken.events}) == 5, "five events")
        wait_for_standing(server, "it", lambda it: it.queued == 0, "an empty queue")

    assert [each["message_id"] for each in taken.events] == sorted(
        each["message_id"] for each in taken.events
    )


def test_a_webhook_is_tried_again_until_it_says_2xx(tmp_path: Path):
    (tmp_path / "token").write_text("secret\n")
    with web_server([500, 302, 204]) as (url, posts):
        config = receiver("web", f'webhook = "{url}"', batch=10, token_file=str(tmp_path / "token"))
        with Server(tmp_path, config=config) as server:
            assert deliver(server, "a@x.example") == [250]
            found = wait_for_standing(server, "web", lambda it: it.sent == 1, "a taken event")

    assert found.failed == 2
    assert [post["events"] for post in posts] == [posts[0]["events"]] * 3
    assert posts[0]["authorization"] == "Bearer secret"
    assert posts[0]["version"] == 1


def test_receivers_that_hang_delay_no_reply_and_not_each_other(tmp_path: Path):
    how, out = write_script(tmp_path)
    (tmp_path / "hanging").mkdir()
    hangs, _ = write_script(tmp_path / "hanging", body="exec sleep 1000")
    with (
        web_server([200], threading.Event()) as (url, posts),
        SocketReceiver(tmp_path / "silent", lambda _: None),
    ):
        config = receiver("web", f'webhook = "{url}"', timeout_s=600)
        config += receiver("silent", f'socket = "{tmp_path}/silent"', timeout_s=600)
        config += receiver("hanging", hangs, timeout_s=600)
        config += receiver("dead", f'socket = "{tmp_path}/nobody"') + receiver("well", how, batch=1000)
        with Server(tmp_path, config=config) as server:
            assert deliver(server, "a@x.example") == [250]
            wait_for(lambda: posts, "the request that will hang")

            assert deliver(server, "a@x.example", count=200) == [250] * 200

            wait_for(lambda: len(read(out)) == 201, "the events of the one that is well")
            for name in ("web", "silent", "hanging", "dead"):
                wait_for_standing(server, name, lambda it: it.queued == 201, f"201 events for {name}")
    assert len(posts) == 1


def test_a_time_out_is_a_failure_and_leaves_no_process(tmp_path: Path):
    hangs, _ = write_script(tmp_path, body=f"echo $$ >>{tmp_path}/pids; sleep 1000")
    with Server(tmp_path, config=receiver("slow", hangs, timeout_s=1)) as server:
        deliver(server, "a@x.example")

        found = wait_for_standing(server, "slow", lambda it: it.failed > 0, "a failure")

        first = (tmp_path / "pids").read_text().split()[0]
        assert found.error == "no end after 1 s"
        assert not Path(f"/proc/{first}").exists()
        assert "events_not_taken" in server.log


def test_a_killed_sender_is_replaced_and_loses_nothing(tmp_path: Path):
    with Server(tmp_path, config=receiver("it", f'socket = "{tmp_path}/receiver"')) as server:
        deliver(server, "a@x.example", count=10)
        wait_for_standing(server, "it", lambda it: it.queued == 10, "ten events in the backlog")

        os.kill(sender_of(server), signal.SIGKILL)
        deliver(server, "a@x.example", count=10)
        with SocketReceiver(tmp_path / "receiver") as taken:
            wait_for(lambda: len({each["id"] for each in taken.events}) == 20, "twenty events", deadline_s=40)

            assert {each["file"] for each in taken.events} == files(server, "a@x.example")
        assert "events_died" in server.log


def test_what_waits_survives_a_restart_and_a_crash_of_all(tmp_path: Path):
    with Server(tmp_path, config=receiver("it", f'socket = "{tmp_path}/receiver"')) as server:
        deliver(server, "a@x.example", count=5)
        server.restart()
        deliver(server, "a@x.example", count=5)
        server.kill()
        server.start()
        with SocketReceiver(tmp_path / "receiver") as taken:
            wait_for(lambda: len({each["id"] for each in taken.events}) == 10, "ten events")

        assert {each["file"] for each in taken.events} == files(server, "a@x.example")


def test_a_crash_right_behind_the_reply_takes_no_refusal_and_no_quota_crossing(tmp_path: Path):
    config = "[quota]\ndefault = '0,1M'\nfull = 'reject'\n"
    config += receiver("it", f'socket = "{tmp_path}/receiver"', kinds=["refused", "quota"])
    users = [f"user{number}@x.example" for number in range(KILLS)]
    with Server(tmp_path, config=config) as server:
        for user in users:
            assert deliver(server, user) == [250]
            with server.client() as client:
                client.command(f"MAIL FROM:<{ME}>")
                reply = client.command(f"RCPT TO:<{user}>")
                server.kill()
            assert reply.code == 552
            server.start()
        with SocketReceiver(tmp_path / "receiver") as taken:
            wait_for(lambda: len({each["id"] for each in taken.events}) >= 2 * KILLS, "all events")

    assert {(each["mailbox"], each.get("state") or each["cause"]) for each in taken.events} == {
        (user, what) for user in users for what in ("full", "quota")
    }


def test_a_backlog_over_its_bound_loses_the_oldest_and_says_so(tmp_path: Path):
    config = receiver("it", f'socket = "{tmp_path}/receiver"', keep_octets=65_536)
    with Server(tmp_path, config=config) as server:
        deliver(server, "a@x.example", count=250)

        found = wait_for_standing(server, "it", lambda it: it.dropped > 0, "dropped events")
        wait_for_standing(server, "it", lambda it: it.queued + it.dropped == 250, "all events")
        with SocketReceiver(tmp_path / "receiver") as taken:
            left = wait_for_standing(server, "it", lambda it: it.queued == 0, "an empty queue")

        assert left.dropped >= found.dropped
        assert left.sent + left.dropped == 250
        assert taken.events[-1]["message_id"] == "<249@x>"
        assert "events_dropped level=error receiver=it" in server.log


def test_receivers_can_be_changed_while_the_server_runs(tmp_path: Path):
    how, out = write_script(tmp_path)
    with Server(tmp_path, config="") as server:
        pass
    config = receiver("gone", f'socket = "{tmp_path}/nobody"')
    with Server(tmp_path, config=config) as server:
        deliver(server, "a@x.example")
        wait_for_standing(server, "gone", lambda it: it.queued == 1, "an event in the backlog")

        (tmp_path / "lmtpd.toml").write_text(receiver("new", how))
        server.reload()
        deliver(server, "a@x.example")

        (event,) = wait_for(lambda: read(out), "an event")
        assert event["file"] in files(server, "a@x.example")
        wait_for(lambda: 'receiver=gone count=1 reason="no such receiver"' in server.log, "a line in the log")
