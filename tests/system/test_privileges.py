"""What must hold once the server has stopped being root (`server.run_as`)."""

import pwd
import shutil

import pytest

from tests.support import maildirs
from tests.support.postfix import public_folder
from tests.support.requirements import need
from tests.support.server import Server

pytestmark = pytest.mark.system

OWNER = "mail"  # on every Debian

# Runs at the start of every Python that finds it on its path.
WATCH_IMPORTS = """\
import os
import sys


def tell(event, arguments):
    if event == "import" and os.geteuid() != 0:
        os.write(2, f"late import of {arguments[0]}\\n".encode())


sys.addaudithook(tell)
"""


@pytest.fixture
def server():
    need("root")
    with public_folder("owner") as folder:
        for name in ("mail", "state"):
            (folder / name).mkdir()
            shutil.chown(folder / name, OWNER, OWNER)
        (folder / "sitecustomize.py").write_text(WATCH_IMPORTS)
        environment = {"PYTHONPATH": str(folder)}
        config = f'[server]\nrun_as = "{OWNER}"\n'
        flags = ["--set", "mailboxes.detail=create"]
        with Server(folder, config=config, flags=flags, environment=environment) as server:
            yield server


def test_mail_belongs_to_that_user(server):
    with server.client() as client:
        client.deliver("sender@example.org", ["user@example.org"], b"Subject: x\r\n\r\n")
        client.quit()

    owner = pwd.getpwnam(OWNER)
    path = maildirs.only_message(server.maildir("user@example.org")).path
    for made in (path, path.parent, path.parent.parent):
        assert (made.stat().st_uid, made.stat().st_gid) == (owner.pw_uid, owner.pw_gid)


def test_nothing_is_imported_any_more(server):
    # That user may not be able to read the library (a Python below /root, say): whatever Python loads on
    # first use, such as a codec, would then fail for the first message that needs it.
    big = b"Subject: big\r\n\r\n" + b"x" * 300_000 + b"\r\n"
    with server.client() as client:
        replies = client.deliver(
            "a@bücher.example",
            ["jürgen+Entwürfe@bücher.example", '"a b"@example.org', "x@[IPv6:::1]"],
            big,
            parameters="SMTPUTF8 BODY=8BITMIME",
        )
        replies += client.deliver(
            "", ["b@example.org"], b"\0\r\n\xff", parameters="BODY=BINARYMIME", chunk_octets=2
        )
        client.command("XFORWARD NAME=a.example.org ADDR=192.0.2.1 IDENT=4ABC HELO=+41")
        client.quit()
    server.reload()
    with server.client() as client:
        replies += client.deliver("c@example.org", ["c@example.org"], b"x\r\n")
        client.quit()

    assert [reply.code for reply in replies] == [250] * 5
    late = {line for line in server.log.splitlines() if line.startswith("late import")}
    assert not late
