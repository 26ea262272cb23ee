"""Receivers, as far as the system tests do not show: what is said of a failure, and time that runs out."""

import json
import socket
import threading
from pathlib import Path

import pytest

from lmtpd.events.receivers import ERROR_CHARACTERS, Command, NotTaken, Socket, Webhook
from tests.support.polling import wait_for


def script(folder: Path, body: str) -> list[str]:
    path = folder / "receiver"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return [str(path), "one argument"]


def test_a_command_gets_lines_and_a_bare_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SECRET", "x")
    words = script(tmp_path, f'cat >{tmp_path}/out; echo "$1 $SECRET $PWD" >>{tmp_path}/out')

    Command(words, timeout_s=10, user=None).send(['{"a": 1}', '{"a": 2}'])

    assert (tmp_path / "out").read_text() == '{"a": 1}\n{"a": 2}\none argument  /\n'


def test_a_command_that_fails_is_quoted_and_reads_only_if_it_likes(tmp_path: Path):
    words = script(tmp_path, "echo no such index >&2; exit 3")

    with pytest.raises(NotTaken, match=r"^exit code 3 no such index$"):
        Command(words, timeout_s=10, user=None).send(["x" * 1_000_000])


def test_what_a_command_leaves_running_is_ended(tmp_path: Path):
    words = script(tmp_path, f"sleep 1000 & echo $! >{tmp_path}/pid")

    Command(words, timeout_s=10, user=None).send(["{}"])

    pid = (tmp_path / "pid").read_text().strip()
    state = Path(f"/proc/{pid}/stat")
    wait_for(lambda: _is_over(state), "the end of what was left running")


def test_a_program_that_is_not_there_is_named():
    with pytest.raises(NotTaken, match="/nowhere/program: No such file"):
        Command(["/nowhere/program"], timeout_s=1, user=None).send(["{}"])


def test_a_socket_tells_how_many_were_taken(tmp_path: Path):
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "it"))
        listener.listen()
        receiver = Socket(str(tmp_path / "it"), timeout_s=10)
        answering = threading.Thread(target=_answer, args=(listener, b"ok\r\nok 2\nwhat?\n"))
        answering.start()

        with pytest.raises(NotTaken, match="what\\?") as caught:
            receiver.send(["1", "2", "3", "4"])
        answering.join(10)

    assert caught.value.taken == 2


def test_a_socket_that_says_nothing_is_given_up(tmp_path: Path):
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "it"))
        listener.listen()

        with pytest.raises(NotTaken, match=r"timed out|no answer"):
            Socket(str(tmp_path / "it"), timeout_s=0.2).send(["1"])


def test_a_webhook_that_drips_is_cut_off_in_time():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        done = threading.Event()
        dripping = threading.Thread(target=_drip, args=(listener, done))
        dripping.start()
        receiver = Webhook(f"http://127.0.0.1:{listener.getsockname()[1]}/", timeout_s=0.5, token_file=None)

        with pytest.raises(NotTaken):
            receiver.send([json.dumps({"a": 1})])
        done.set()
        dripping.join(10)

    assert not dripping.is_alive()


def test_a_token_that_cannot_be_read_is_a_failure(tmp_path: Path):
    receiver = Webhook("http://127.0.0.1:1/", timeout_s=1, token_file=tmp_path / "token")

    with pytest.raises(NotTaken, match="No such file"):
        receiver.send(["{}"])


def test_what_is_said_of_a_failure_is_short():
    assert len(str(NotTaken("x" * 1000))) == ERROR_CHARACTERS


def _is_over(state: Path) -> bool:
    try:
        return state.read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def _answer(listener: socket.socket, said: bytes) -> None:
    connection, _ = listener.accept()
    with connection:
        connection.recv(4096)
        connection.sendall(said)
        connection.recv(4096)


def _drip(listener: socket.socket, done: threading.Event) -> None:
    connection, _ = listener.accept()
    with connection:
        connection.recv(65536)
        while not done.wait(0.05):
            try:
                connection.sendall(b"H")
            except OSError:
                return
