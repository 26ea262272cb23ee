"""`lmtpd explain` says what the server answers, whatever is wrong with a mailbox; both are asked."""

import json
import os
import pwd
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from tests.support.postfix import public_folder
from tests.support.requirements import ROOT, need
from tests.support.server import Server

pytestmark = pytest.mark.system

OWNER = "mail"  # on every Debian
OTHER = 71002
# Nobody counts beside the delivery.
QUOTA = '[quota]\ndefault = "1M"\nwatch = 0\nsample_s = 0\n'
BODY = b"Subject: x\r\n\r\nhello\r\n"
A = "a@example.org"


def owner_ids() -> tuple[int, int]:
    entry = pwd.getpwnam(OWNER)
    return entry.pw_uid, entry.pw_gid


def give(path: Path, uid: int, gid: int) -> None:
    for each in (path, *path.rglob("*")):
        os.chown(each, uid, gid, follow_symlinks=False)


def make_maildir(path: Path) -> None:
    for part in ("tmp", "new", "cur"):
        (path / part).mkdir(parents=True)


def mode(part: str, bits: int) -> Callable[[Path], None]:
    return lambda maildir: (maildir / part).chmod(bits)


def someone_elses(part: str) -> Callable[[Path], None]:
    def spoil(maildir: Path) -> None:
        os.chown(maildir / part, OTHER, OTHER)
        (maildir / part).chmod(0o700)

    return spoil


def file_for(part: str) -> Callable[[Path], None]:
    def spoil(maildir: Path) -> None:
        if (maildir / part).is_dir():
            shutil.rmtree(maildir / part)
        (maildir / part).write_text("")

    return spoil


def link_for(part: str) -> Callable[[Path], None]:
    def spoil(maildir: Path) -> None:
        target = maildir.parent / "elsewhere"
        (maildir / part).rename(target)
        (maildir / part).symlink_to(target)

    return spoil


def without(*parts: str, then: int = 0o700) -> Callable[[Path], None]:
    def spoil(maildir: Path) -> None:
        for part in parts:
            shutil.rmtree(maildir / part)
        maildir.chmod(then)

    return spoil


def with_folder(bits: int) -> Callable[[Path], None]:
    def spoil(maildir: Path) -> None:
        make_maildir(maildir / ".lists")
        give(maildir / ".lists", *owner_ids())
        (maildir / ".lists" / "new").chmod(bits)

    return spoil


def with_account_of_another(maildir: Path) -> None:
    (maildir / "maildirsize").write_text("1000000S\n")
    someone_elses("maildirsize")(maildir)


MISSING = "the Maildir is missing"
# What is done to the mailbox, what is asked for, and the code that both must give.
FAULTS: dict[str, tuple[Callable[[Path], None], str, int]] = {
    "nothing": (lambda _: None, A, 250),
    "new, cur and tmp are missing": (without("tmp", "new", "cur"), A, 250),
    "cur is missing and cannot be made": (without("cur", then=0o500), A, 451),
    "no right to read the Maildir": (mode("", 0o300), A, 451),
    "no right to write to the Maildir": (mode("", 0o500), A, 451),  # where its maildirsize has to be made
    "no right to enter the Maildir": (mode("", 0o600), A, 451),
    "no right to write to tmp": (mode("tmp", 0o500), A, 451),
    "no right to write to new": (mode("new", 0o500), A, 451),
    "no right to write to cur": (mode("cur", 0o500), A, 250),
    "no right to cur": (mode("cur", 0), A, 451),
    "the Maildir is another user's": (someone_elses(""), A, 451),
    "tmp is another user's": (someone_elses("tmp"), A, 451),
    "new is another user's": (someone_elses("new"), A, 451),
    "a file in place of the Maildir": (file_for(""), A, 451),
    "a file in place of tmp": (file_for("tmp"), A, 451),
    "a file in place of new": (file_for("new"), A, 451),
    "a link in place of the Maildir": (link_for(""), A, 451),
    "a link in place of new": (link_for("new"), A, 451),
    MISSING: (shutil.rmtree, A, 550),
    "the domain is another user's": (someone_elses(".."), A, 451),
    "a file in place of maildirsize's": (lambda maildir: (maildir / "maildirsize").mkdir(), A, 451),
    "maildirsize is another user's": (with_account_of_another, A, 451),
    "a folder": (with_folder(0o700), "a+lists@example.org", 250),
    "no right to write to a folder": (with_folder(0o500), "a+lists@example.org", 451),
    "a file in place of a folder": (file_for(".lists"), "a+lists@example.org", 451),
    "a folder that is not there": (lambda _: None, "a+lists@example.org", 250),
}


@pytest.fixture(scope="module", params=[OWNER, "recipient"])
def shared(request: pytest.FixtureRequest) -> Iterator[Server]:
    need("root")
    with public_folder("explain") as folder:
        (folder / "mail").mkdir()
        (folder / "state").mkdir()
        uid, gid = owner_ids()
        if request.param == OWNER:
            shutil.chown(folder / "mail", OWNER, OWNER)
            shutil.chown(folder / "state", OWNER, OWNER)
            source = '[[recipients]]\nsource = "maildirs"\n'
            owners = ""
        else:
            (folder / "users").write_text(
                f"a:x:{uid}:{gid}::::userdb_mail=maildir:{folder}/mail/example.org/a\n"
            )
            source = f'[[recipients]]\nsource = "file"\nfile = "{folder}/users"\n'
            owners = "[owners]\nfirst_uid = 1\n"
        config = f'[server]\nrun_as = "{request.param}"\nworkers = 1\n{owners}{QUOTA}{source}'
        with Server(folder, config=config, create=False) as server:
            yield server


@pytest.fixture
def server(shared: Server) -> Server:
    """The mailbox is made anew for each test."""
    domain = shared.mail / "example.org"
    if domain.exists():
        domain.chmod(0o700)
        shutil.rmtree(domain)
    make_maildir(domain / "a")
    make_maildir(domain / "b")
    give(domain, *owner_ids())
    shared.mail.chmod(0o755)
    return shared


def answered(server: Server, recipient: str) -> int:
    """Return the last code that the recipient got, be it to RCPT, to DATA, or behind the dot."""
    with server.client() as client:
        assert client.command("MAIL FROM:<s@example.net>").code == 250
        code = client.command(f"RCPT TO:<{recipient}>").code
        if code == 250 and (code := client.command("DATA").code) == 354:
            client.send(BODY + b".\r\n")
            code = client.reply().code
        client.command("RSET")
        client.quit()
    return code


def explain(server: Server, recipient: str, *more: str) -> dict[str, str]:
    command = [sys.executable, "-m", "lmtpd", "explain", recipient, "--json", *more]
    flags = ["--mailboxes", f"{server.mail}/{{domain}}/{{user}}", "--state", str(server.state)]
    config = ["--config", str(server.folder / "lmtpd.toml")]
    done = subprocess.run([*command, *config, *flags], cwd=ROOT, capture_output=True, check=False, text=True)
    assert not done.stderr, done.stderr
    shown: dict[str, str] = json.loads(done.stdout)
    return shown


def tree(folder: Path) -> Sequence[tuple[str, int, int]]:
    found = sorted([folder, *folder.rglob("*")])
    return [(str(each), each.lstat().st_mode, each.lstat().st_ctime_ns) for each in found]


@pytest.mark.parametrize("fault", FAULTS)
def test_explain_answers_what_the_server_answers(server: Server, fault: str) -> None:
    spoil, recipient, code = FAULTS[fault]
    spoil(server.maildir(A))
    before = tree(server.mail)

    said = explain(server, recipient)
    unchanged = tree(server.mail)
    told = answered(server, recipient)

    assert unchanged == before
    assert int(re.match(r"\d+", said["reply"])[0]) == told  # type: ignore[index]  # a reply has a code
    if fault == MISSING and (server.folder / "users").exists():
        code = 250  # a user whom a source knows: it is made
    assert told == code
    assert (code == 250) is ("reason" not in said)
