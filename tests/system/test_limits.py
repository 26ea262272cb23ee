"""Limits in a running server: a file system that is full, and clients that are too many or too slow."""

import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.support.figures import figure, wait_for_figure
from tests.support.polling import wait_for
from tests.support.requirements import need
from tests.support.server import Server

pytestmark = pytest.mark.system

A, B = "a@example.org", "b@example.org"
BODY = b"Subject: x\r\n\r\nhello\r\n"


@contextmanager
def tmpfs(path: Path, size: str) -> Iterator[None]:
    need("root")
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(path)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", str(path)], check=True)


def limits(**values: int) -> list[str]:
    flags = ["--workers", "1"]
    for name, value in values.items():
        flags += ["--set", f"limits.{name}={value}"]
    return flags


def codes(server: Server, *recipients: str, sender: str = "s@example.net", body: bytes = BODY) -> list[str]:
    with server.client() as client:
        return [f"{reply.code} {reply.status}" for reply in client.deliver(sender, recipients, body)]


def log_of(server: Server, pattern: str) -> str:
    return wait_for(lambda: re.search(f"^.*{pattern}.*$", server.log, re.MULTILINE), pattern)[0]


def test_a_full_file_system_is_left_alone_and_found_again_when_there_is_room(tmp_path):
    flags = limits(file_system_faults=2, file_system_pause_s=1)
    with tmpfs(tmp_path / "mail", "256k"), Server(tmp_path, flags=flags) as server:
        assert codes(server, A, B) == ["250 2.0.0"] * 2
        ballast = server.mail / "ballast"
        with pytest.raises(OSError, match="No space"), ballast.open("wb", buffering=0) as file:
            while True:
                file.write(b"x" * 4096)

        faults = codes(server, A, B)
        log_of(server, "file_system_left_alone")  # a fault counts once its reply has left
        refused = []

        def refuses_without_looking() -> bool:
            # On a slow machine the pause may be over, and what is refused is a probe; then it begins anew.
            refused.append(codes(server, A))
            return "cause=file_system " in server.log

        wait_for(refuses_without_looking, "a refusal without a look at the disk")
        ballast.unlink()
        wait_for(lambda: codes(server, A) == ["250 2.0.0"], "a probe that is delivered")

        assert faults == ["452 4.3.1"] * 2
        assert all(each == ["452 4.3.1"] for each in refused)
        assert codes(server, B) == ["250 2.0.0"]
        assert "cause=file_system " in log_of(server, "left alone for a while after: ")
        log_of(server, "file_system_left_alone level=alert")
        log_of(server, "file_system_in_use_again level=notice")
        wait_for(lambda: figure(server, "deliveries_total", "deferred", "4xx", "file_system"), "its figure")


def test_a_sender_that_sends_too_much_is_deferred_and_others_are_not(tmp_path):
    with Server(tmp_path, flags=limits(sender_recipients_per_minute=2)) as server:
        answered = codes(server, A, B, "c@example.org", sender="busy@example.net")
        others = codes(server, A, B, sender="other@example.net")

        assert answered == ["250 2.0.0", "250 2.0.0", "451 4.7.28"]
        assert others == ["250 2.0.0"] * 2
        assert "busy@example.net: more than 2 recipients a minute" in log_of(server, "cause=sender_rate")
        wait_for_figure(server, 1, "deliveries_total", "deferred", "4xx", "sender_rate")


def test_below_the_floor_mail_waits(tmp_path):
    with tmpfs(tmp_path / "mail", "1m"), Server(tmp_path, flags=limits(free_octets=900_000)) as server:
        assert codes(server, A) == ["250 2.0.0"]

        with server.client() as client:
            refused = client.deliver("s@example.net", [A], BODY, parameters="SIZE=500000")

        assert [f"{reply.code} {reply.status}" for reply in refused] == ["452 4.3.1"]
        log_of(server, "cause=free_space")
        wait_for_figure(server, 1, "deliveries_total", "deferred", "4xx", "free_space")


def test_a_body_that_drips_is_cut_off_and_told_in_the_log(tmp_path):
    with Server(tmp_path, flags=limits(idle_s=1, min_octets_per_s=10_000)) as server:
        with server.client() as client:
            client.envelope("s@example.net", [A, B])
            client.command("DATA")
            with suppress(BrokenPipeError, ConnectionResetError):  # cut off between the look and the drip
                while not client.surplus(wait_s=0.1):
                    client.send(b"drip\r\n")

            assert client.reply().code == 421
        for recipient in (A, B):
            log_of(server, f"dropped .*to=<{recipient}>.* cause=too_slow ")
        assert not list(server.maildir(A).glob("*/*"))
