import os

import pytest

from storage.headers_read import HEADER_OCTETS, sender_of
from tests.support.scripting import opened


@pytest.mark.parametrize(
    "header, sender",
    [
        (b"From: bob@example.org\n\n", "bob@example.org"),
        (b"Received: x\nfrom : Bob <BOB@example.org>\n\n", "bob@example.org"),
        (b'From: "eve@example.net" <bob@example.org>\n\n', "bob@example.org"),
        (b"From: Bob\n <bob@example.org>\nTo: x@y\n\n", "bob@example.org"),
        (b"From: J\xc3\xbcrgen <j\xc3\xbc@b\xc3\xbccher.example>\r\n\r\n", "jü@bücher.example"),
        (b"From: nobody\n\n", ""),
        (b"Subject: x\n\nFrom: bob@example.org\n", ""),
        (b"Subject: x\n From: bob@example.org\n\n", ""),
        (b"", ""),
        (b"From: bob@example.org", "bob@example.org"),
        (b"X: y\n" * 3000 + b"From: bob@example.org\n\n", "bob@example.org"),
        (b"X: y\n" * (HEADER_OCTETS // 5 + 2000) + b"From: bob@example.org\n\n", ""),
    ],
)
def test_whose_message_it_is(tmp_path, header, sender):
    (tmp_path / "x").write_bytes(header)

    assert sender_of(opened(tmp_path), "x") == sender


def test_what_cannot_be_read_is_nobodys(tmp_path):
    (tmp_path / "link").symlink_to("/etc/passwd")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")

    assert [sender_of(opened(tmp_path), name) for name in ("link", "gone", "folder", "pipe")] == [""] * 4
