# Long because the right deliveries and the wrong ones share their site.
"""`server.run_as = "recipient"`: two users who own their mailboxes, and do not trust each other.

The users are numbers without names. Each may put what he likes into his Maildir; none of it may lead a
delivery anywhere that he could not reach himself, nor take the other's mail away.
"""

import os
import shutil
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.lmtp_client import LmtpClient
from tests.support.polling import wait_for
from tests.support.postfix import public_folder
from tests.support.requirements import ROOT, need, program
from tests.support.server import Server
from tests.support.staged import children_of

pytestmark = pytest.mark.system

A, B = "a@example.org", "b@example.org"
UIDS = {"a": 71001, "b": 71002}
GROUP = 8  # mail, on every Debian
SMALL = b"Subject: small\r\n\r\nsecret\r\n"
LARGE = b"Subject: large\r\n\r\n" + b"secret of many octets\r\n" * 20_000
RUN_AS = '[server]\nrun_as = "recipient"\nworkers = 1\n'
PARTS = ("tmp", "new", "cur")

# Runs at the start of every Python that finds it on its path.
WATCH_IMPORTS = """\
import os
import sys


def tell(event, arguments):
    if event == "import" and os.geteuid() != 0:
        os.write(2, f"late import of {arguments[0]}\\n".encode())


sys.addaudithook(tell)
"""


def give(path: Path, user: str, mode: int = 0o700) -> None:
    os.chown(path, UIDS[user], UIDS[user])
    path.chmod(mode)


def make_maildir(path: Path, user: str) -> None:
    path.mkdir(parents=True)
    for part in PARTS:
        (path / part).mkdir()
        give(path / part, user)
    give(path, user)


@contextmanager
def site(config: str = RUN_AS, *flags: str) -> Iterator[Server]:
    """A server and the mailboxes of a and b."""
    need("root")
    with public_folder("owners") as folder:
        for user in UIDS:
            make_maildir(folder / "mail/example.org" / user, user)
        (folder / "sitecustomize.py").write_text(WATCH_IMPORTS)
        environment = {"PYTHONPATH": str(folder)}
        server = Server(folder, config=config, create=False, flags=flags, environment=environment)
        for path in (folder / "mail", folder / "mail/example.org"):
            path.chmod(0o755)
        with server:
            yield server
        assert "late import" not in server.log


@pytest.fixture(scope="module")
def shared() -> Iterator[Server]:
    """One server for all tests that leave mailboxes as they were."""
    with site() as server:
        yield server


@pytest.fixture
def server(shared: Server) -> Server:
    """The mailboxes are made anew for each test."""
    shutil.rmtree(shared.mail / "example.org")
    for user in UIDS:
        make_maildir(shared.mail / "example.org" / user, user)
    (shared.mail / "example.org").chmod(0o755)
    return shared


def deliver(server: Server, *recipients: str, body: bytes = SMALL) -> list[int]:
    """Return the last code that each recipient got, be it to RCPT, to DATA, or behind the dot."""
    with server.client() as client:
        assert client.command("MAIL FROM:<s@example.net>").code == 250
        codes = [client.command(f"RCPT TO:<{recipient}>").code for recipient in recipients]
        accepted = [place for place, code in enumerate(codes) if code == 250]
        if accepted:
            code = client.command("DATA").code
            if code == 354:
                client.send(body + b".\r\n")
            for place in accepted:
                codes[place] = client.reply().code if code == 354 else code
        client.quit()
    return codes


def messages(server: Server, user: str) -> list[Path]:
    new = server.mail / "example.org" / user / "new"
    return sorted(new.iterdir()) if new.is_dir() and not new.is_symlink() else []


def owner_of(path: Path) -> tuple[int, int, int]:
    status = path.lstat()
    return status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)


# -- what is right


@pytest.mark.parametrize("body", [SMALL, LARGE], ids=["small", "large"])
def test_each_copy_belongs_to_its_recipient(server: Server, body: bytes):
    assert deliver(server, A, B, body=body) == [250, 250]

    for user, uid in UIDS.items():
        (message,) = messages(server, user)
        assert owner_of(message) == (uid, uid, 0o600)
        assert message.read_bytes().endswith(b"\n\n" + body.replace(b"\r\n", b"\n").partition(b"\n\n")[2])
        assert f"\nDelivered-To: {user}@example.org\n".encode() in message.read_bytes()
        assert list((server.mail / "example.org" / user / "tmp").iterdir()) == []


def test_what_is_made_belongs_to_the_recipient():
    with site(RUN_AS + '[mailboxes]\ndetail = "create"\n[quota]\ndefault = "1M"\n') as server:
        shutil.rmtree(server.mail / "example.org/a/cur")

        assert deliver(server, "a+Lists.python@example.org") == [250]

        made = sorted((server.mail / "example.org/a").rglob("*"))
        assert {path.name for path in made} >= {"cur", ".Lists.python", "maildirfolder", "maildirsize"}
        assert {owner_of(path)[:2] for path in made} == {(UIDS["a"],) * 2}
        assert {stat.S_IMODE(path.stat().st_mode) & 0o077 for path in made} == {0}


def test_users_of_a_file_get_a_maildir_in_their_homes():
    users = '[[recipients]]\nsource = "file"\nformat = "passwd-file"\nfile = "{}/users"\n'
    need("root")
    with public_folder("homes") as folder:
        (folder / "home").mkdir(mode=0o755)
        lines = []
        for user, uid in UIDS.items():
            home = folder / "home" / user
            home.mkdir()
            give(home, user)
            lines.append(f"{user}@example.org::{uid}:{uid}::{home}::\n")
        (folder / "users").write_text("".join(lines) + f"c@example.org::999:999::{folder}::\n")
        os.utime(folder / "users", (1, 1))
        server = Server(folder, config=RUN_AS + users.format(folder), create=False)
        with server:
            assert deliver(server, A, B, "c@example.org") == [250, 250, 451]
            assert deliver(server, "a+Lists@example.org", body=LARGE) == [250]

        for user, uid in UIDS.items():
            made = sorted((folder / "home" / user).rglob("*"))
            assert {owner_of(path)[:2] for path in made} == {(uid, uid)}
            assert len([path for path in made if path.is_file()]) == (2 if user == "a" else 1)


def test_state_stays_the_servers(server: Server):
    deliver(server, A, B, body=LARGE)

    assert {owner_of(path)[:2] for path in (server.state, *server.state.rglob("*"))} == {(0, 0)}
    assert owner_of(server.state)[2] == 0o700
    assert list((server.state / "spool/tmp").iterdir()) == []


def test_the_server_keeps_what_it_needs_of_roots_rights_and_no_groups(server: Server):
    deliver(server, A)
    processes = [server.pid, *children_of(server.pid)]
    threads = [path for pid in processes for path in Path(f"/proc/{pid}/task").glob("*/status")]

    found = {
        (fields["Uid"], fields["Gid"], fields["Groups"].strip(), fields["CapEff"])
        for fields in map(_fields, threads)
    }

    allowed = sum(1 << number for number in (0, 1, 2, 3, 5, 6, 7, 10))
    assert {found_[:3] for found_ in found} == {("0\t0\t0\t0", "0\t0\t0\t0", "")}
    assert all(int(capabilities, 16) & ~allowed == 0 for *_, capabilities in found)


def _fields(path: Path) -> dict[str, str]:
    return dict(line.split(":\t", 1) for line in path.read_text().splitlines())


def test_copies_of_one_owner_may_be_one_file_and_others_not():
    with site(RUN_AS, "--set", "delivery.single_instance=link") as server:
        make_maildir(server.mail / "example.org/a2", "a")

        assert deliver(server, A, B, "a2@example.org") == [250, 250, 250]

        inodes = {user: messages(server, user)[0].stat().st_ino for user in ("a", "a2", "b")}
        assert inodes["a"] == inodes["a2"] != inodes["b"]
        assert owner_of(messages(server, "a2")[0])[0] == UIDS["a"]
        assert b"\nDelivered-To: b@example.org\n" in messages(server, "b")[0].read_bytes()


def test_groups_that_are_allowed_are_had():
    with site(RUN_AS + '[owners]\ngroups = ["mail"]\n') as server:
        folder = server.mail / "example.org"
        os.chown(folder, 0, GROUP)
        folder.chmod(0o750)

        assert deliver(server, A) == [250]

        folder.chmod(0o700)
        assert deliver(server, A) == [451]


# -- who is nobody's recipient


@pytest.mark.parametrize(
    "uid, gid, why",
    [
        (0, 71001, "no mail is delivered with root's rights"),
        (71001, 0, "no mail is delivered with root's rights"),
        (999, 71001, "below owners.first_uid, 1000"),
        (65534, 71001, "which is nobody"),
    ],
)
def test_whose_rights_no_mail_needs_gets_none(server: Server, uid: int, gid: int, why: str):
    os.chown(server.mail / "example.org/a", uid, gid)

    with server.client() as client:
        assert client.command("MAIL FROM:<>").code == 250
        assert client.command(f"RCPT TO:<{A}>").code == 451
        assert client.command(f"RCPT TO:<{B}>").code == 250
        client.quit()

    explained = explain(server, A)
    assert f"gid {gid}: {why}" in explained.stdout
    assert explained.returncode == os.EX_TEMPFAIL


def test_the_first_uid_is_allowed(server: Server):
    for path in (server.mail / "example.org/a", *(server.mail / "example.org/a").rglob("*")):
        os.chown(path, 1000, 1000)

    assert deliver(server, A) == [250]
    assert owner_of(messages(server, "a")[0])[:2] == (1000, 1000)


def explain(server: Server, address: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "lmtpd", "explain", address]
    command += ["--config", str(server.folder / "lmtpd.toml"), "--state", str(server.state)]
    command += ["--mailboxes", f"{server.mail}/{{domain}}/{{user}}"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_explain_tells_whose_rights(server: Server):
    explained = explain(server, A)

    assert explained.returncode == 0, explained.stderr
    assert "rights                   uid 71001, gid 71001, owner of the Maildir" in explained.stdout
    assert "owner                    71001" in explained.stdout


# -- what an owner may do to his Maildir


def _replaced(path: Path) -> None:
    path.rename(path.with_name(path.name + ".was"))


def _link(path: Path, other: Path) -> None:
    _replaced(path)
    path.symlink_to(other)


def _fifo(path: Path, _: Path) -> None:
    _replaced(path)
    os.mkfifo(path)
    give(path, "a")


def _file(path: Path, _: Path) -> None:
    _replaced(path)
    path.write_bytes(b"")
    give(path, "a")


def _socket(path: Path, _: Path) -> None:
    _replaced(path)
    handle = os.open(path.parent, os.O_RDONLY)  # a socket's path must be short
    with socket.socket(socket.AF_UNIX) as end:
        end.bind(f"/proc/self/fd/{handle}/{path.name}")
    os.close(handle)


def _shut(path: Path, _: Path) -> None:
    path.chmod(0)


def _of_root(path: Path, _: Path) -> None:
    os.chown(path, 0, 0)


def _of_the_other(path: Path, _: Path) -> None:
    give(path, "b")


THINGS: dict[str, Callable[[Path, Path], None]] = {
    "link": _link,
    "fifo": _fifo,
    "file": _file,
    "socket": _socket,
    "mode 000": _shut,
    "root's": _of_root,
    "the other's": _of_the_other,
}


def stored(server: Server, user: str) -> list[Path]:
    """Every message in what is or was the user's own Maildir; no link is followed."""
    found = []
    for top, _, names in os.walk(server.mail / "example.org"):
        where = Path(top).relative_to(server.mail / "example.org").parts
        if where and where[0].partition(".")[0] == user and where[-1].startswith("new"):
            found += [Path(top, name) for name in names]
    return found


@pytest.mark.parametrize("warm", [False, True], ids=["first contact", "open mailbox"])
@pytest.mark.parametrize(
    "place, thing",
    [
        (place, thing)
        for place in ("", "tmp", "new")
        for thing in THINGS
        if place or thing not in ("root's", "the other's")  # then it is another's mailbox: see below
    ],
)
def test_nothing_that_an_owner_does_leads_elsewhere(server: Server, place: str, thing: str, warm: bool):
    mine, others = server.mail / "example.org/a", server.mail / "example.org/b"
    outside = server.folder / "outside"
    for path in (outside, *(outside / part for part in PARTS)):
        path.mkdir(exist_ok=True)
        path.chmod(0o700)  # root's: what leads there with root's rights would succeed
    if warm:
        assert deliver(server, A) == [250]

    THINGS[thing](mine / place, outside / place)
    codes = deliver(server, A, B)
    if thing == "link":
        (mine / place).unlink()
        (mine / place).symlink_to(others / place)
        codes += deliver(server, A)

    assert codes[1] == 250
    mine_too = [codes[0], *codes[2:]]
    # A directory that is open stays the one that it was, whatever has its name now.
    assert set(mine_too) <= ({250, 451} if warm and place == "tmp" else {451})
    assert [path for path in outside.rglob("*") if not path.is_dir()] == []
    assert [owner_of(path)[0] for path in stored(server, "b")] == [UIDS["b"]]
    assert [owner_of(path)[0] for path in stored(server, "a")] == [UIDS["a"]] * (warm + mine_too.count(250))


def test_a_mailbox_that_is_given_away_is_its_new_owners_at_once(server: Server):
    assert deliver(server, A) == [250]
    mine = server.mail / "example.org/a"

    for path in (mine, *(mine / part for part in PARTS)):
        give(path, "b")
    assert deliver(server, A) == [250]

    owners = sorted(owner_of(path)[0] for path in messages(server, "a"))
    assert owners == [UIDS["a"], UIDS["b"]]


def test_who_gives_only_the_top_away_gets_no_mail_with_rights_of_before(server: Server):
    assert deliver(server, A) == [250]

    give(server.mail / "example.org/a", "b")  # tmp/ and new/ are still a's, and open

    assert deliver(server, A) == [451]


def test_leftovers_of_a_server_that_died_are_removed_with_their_owners_rights():
    with site() as server:
        for user in UIDS:
            assert deliver(server, f"{user}@example.org") == [250]
        client = _begin(server, A, LARGE)
        (leftover,) = _tmp_files(server, "a")
        assert owner_of(leftover)[0] == UIDS["a"]
        server.kill()
        client.close()
        assert leftover.exists()

        server.start()
        assert deliver(server, A) == [250]

        assert _tmp_files(server, "a") == []


def _begin(server: Server, recipient: str, body: bytes) -> LmtpClient:
    """Send a message without its end, and return when its beginning has been written."""
    client = server.client()
    client.send(b"MAIL FROM:<s@example.net>\r\nRCPT TO:<%b>\r\nDATA\r\n" % recipient.encode())
    assert [client.reply().code for _ in range(3)] == [250, 250, 354]
    client.send(body)
    wait_for(lambda: bool(_tmp_files(server, recipient[0])), "the beginning of the message in tmp/")
    return client


def _tmp_files(server: Server, user: str) -> list[Path]:
    return list((server.mail / "example.org" / user / "tmp").iterdir())


# -- where it cannot be


def _refused(wrapper: list[str]) -> tuple[int, str]:
    with public_folder("owners") as folder:
        (folder / "mail").mkdir()
        (folder / "lmtpd.toml").write_text(RUN_AS)
        command = [*wrapper, sys.executable, "-m", "lmtpd", "serve", "--config", str(folder / "lmtpd.toml")]
        command += ["--listen", f"unix:{folder}/s", "--mailboxes", f"{folder}/mail/{{user}}"]
        command += ["--state", str(folder / "state")]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    "wrapper, why",
    [
        (["setpriv", "--bounding-set=-setuid"], "Operation not permitted"),
        (["setpriv", "--bounding-set=-setgid"], "Operation not permitted"),
        (["unshare", "--user", "--map-root-user"], ""),
    ],
    ids=["without CAP_SETUID", "without CAP_SETGID", "a container with one user"],
)
def test_a_start_that_cannot_act_as_others_says_so(wrapper: list[str], why: str):
    need("root", wrapper[0])

    code, said = _refused([program(wrapper[0]), *wrapper[1:]])

    assert code == os.EX_NOPERM, said
    assert 'server.run_as = "recipient" does not work here' in said
    assert why in said
    assert "CAP_SETUID" in said
