"""Lines to files, pipes and sockets: whole or not at all, and never waiting for ever."""

import os
import socket
import threading

import pytest

from lmtpd.report.output import PIPE_BUF, LineOutput


@pytest.fixture
def pipe():
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    yield reader, writer
    for fd in (reader, writer):
        try:
            os.close(fd)
        except OSError:
            pass


def spy_on_writes(monkeypatch):
    written = []
    write = os.write

    def spy(fd, data):
        written.append(bytes(data))
        return write(fd, data)

    monkeypatch.setattr("os.write", spy)
    return written


def read_all(fd):
    data = b""
    try:
        while piece := os.read(fd, 1 << 20):
            data += piece
    except BlockingIOError:
        pass
    return data


def test_batch_into_a_file_is_one_write(tmp_path, monkeypatch):
    written = spy_on_writes(monkeypatch)
    lines = [b"x" * 999 + b"\n"] * 100

    with (tmp_path / "log").open("wb") as file:
        left = LineOutput(file.fileno()).write(lines, patience_s=1)

    assert (left, [len(each) for each in written]) == (0, [100_000])
    assert (tmp_path / "log").read_bytes() == b"".join(lines)


def test_pieces_for_a_pipe_end_with_a_line_and_are_written_whole_by_the_kernel(pipe, monkeypatch):
    reader, writer = pipe
    pieces = spy_on_writes(monkeypatch)
    lines = [b"%04d %s\n" % (index, b"x" * 1000) for index in range(20)]

    left = LineOutput(writer).write(lines, patience_s=1)

    assert left == 0
    assert all(len(piece) <= PIPE_BUF and piece.endswith(b"\n") for piece in pieces)
    assert read_all(reader) == b"".join(lines)


@pytest.mark.parametrize("surplus", [-1, 0, 1])
def test_pieces_at_the_limit(pipe, monkeypatch, surplus):
    reader, writer = pipe
    pieces = spy_on_writes(monkeypatch)

    left = LineOutput(writer).write([b"x" * (PIPE_BUF - 10), b"y" * (10 + surplus)], patience_s=1)

    assert left == 0
    assert len(pieces) == (2 if surplus > 0 else 1)
    assert len(read_all(reader)) == PIPE_BUF + surplus


def test_line_longer_than_a_piece_goes_alone(pipe):
    reader, writer = pipe
    lines = [b"a\n", b"x" * 9000 + b"\n", b"b\n"]

    left = LineOutput(writer).write(lines, patience_s=1)

    assert left == 0
    assert read_all(reader) == b"".join(lines)


def test_no_lines_are_no_write(pipe, monkeypatch):
    written = spy_on_writes(monkeypatch)

    assert LineOutput(pipe[1]).write([], patience_s=1) == 0
    assert written == []


def test_pipe_that_nobody_reads_leaves_lines_unwritten(pipe):
    reader, writer = pipe
    lines = [b"%06d %s\n" % (index, b"x" * 500) for index in range(300)]

    left = LineOutput(writer).write(lines, patience_s=0)

    assert 0 < left < 300
    assert read_all(reader) == b"".join(lines[: 300 - left])


def test_reader_that_comes_late_is_waited_for(pipe):
    reader, writer = pipe
    os.set_blocking(reader, True)
    lines = [b"%06d %s\n" % (index, b"x" * 500) for index in range(300)]
    taken: list[bytes] = []

    def read_to_the_end():
        while len(b"".join(taken)) < sum(map(len, lines)):
            taken.append(os.read(reader, 4096))

    thread = threading.Thread(target=read_to_the_end)
    thread.start()
    left = LineOutput(writer).write(lines, patience_s=30)
    thread.join()

    assert left == 0
    assert b"".join(taken) == b"".join(lines)


def test_reader_that_has_gone_is_no_error(pipe):
    reader, writer = pipe
    os.close(reader)

    assert LineOutput(writer).write([b"a\n", b"b\n"], patience_s=1) == 2


def test_closed_descriptor_is_no_error():
    reader, writer = os.pipe()
    os.close(reader)
    os.close(writer)

    assert LineOutput(writer).write([b"a\n"], patience_s=1) == 1


def test_full_disk_is_no_error():
    with open("/dev/full", "wb") as full:
        assert LineOutput(full.fileno()).write([b"a\n"], patience_s=1) == 1


def test_short_writes_are_continued(tmp_path, monkeypatch):
    write = os.write
    monkeypatch.setattr("os.write", lambda fd, data: write(fd, data[:3]))

    with (tmp_path / "log").open("wb") as file:
        left = LineOutput(file.fileno()).write([b"one two three\n"], patience_s=1)

    assert left == 0
    assert (tmp_path / "log").read_bytes() == b"one two three\n"


@pytest.mark.parametrize("patience_s, left", [(30, 0), (0, 1)])
def test_descriptor_that_somebody_made_non_blocking(tmp_path, monkeypatch, patience_s, left):
    outcomes = [BlockingIOError(11, "try again"), None]
    write = os.write

    def write_or_raise(fd, data):
        if error := outcomes.pop(0):
            raise error
        return write(fd, data)

    monkeypatch.setattr("os.write", write_or_raise)

    with (tmp_path / "log").open("wb") as file:
        assert LineOutput(file.fileno()).write([b"one\n"], patience_s=patience_s) == left


def test_socket_of_the_journal_is_written_in_pieces():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        left = LineOutput(ours.fileno()).write([b"x" * 3000 + b"\n"] * 3, patience_s=1)

        assert left == 0
        assert len(theirs.recv(1 << 20)) == 9003
