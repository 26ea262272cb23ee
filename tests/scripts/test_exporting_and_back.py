"""`maildir-export` and `maildir-import` are each other's opposite."""

import subprocess
import tarfile
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scripts import exporting as module
from scripts import importing
from storage.messages import messages
from tests.support.arrivals import WHEN, put, stored
from tests.support.requirements import CORPUS, need
from tests.support.scripting import Script, new_maildir, opened, runner

DAY = 86_400


@pytest.fixture
def maildir_export(capfd: pytest.CaptureFixture[str]) -> Script:
    return runner(module.main, capfd)


@pytest.fixture
def maildir(tmp_path: Path) -> Path:
    maildir = new_maildir(tmp_path / "bob", ".A.B", ".Empty")
    put(maildir, "cur/2.x:2,FSa", b"Return-Path: <a@b>\nSubject: two\nList-Id: <py>\n\nFrom here\n", WHEN)
    put(maildir, "new/1.x", b"Subject: one\n\nno end", WHEN + DAY)
    put(maildir, "cur/3.x:2,", b"Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\nStatus: mine\n\n\n\n", WHEN + 2 * DAY)
    put(maildir, ".A.B/cur/1.x:2,DPRT", b"Subject: below\n\n", WHEN + 3 * DAY)
    put(maildir, "dovecot-keywords", b"0 work\n")
    return maildir


def essence(folder: Path) -> Counter[tuple[object, ...]]:
    """Return what is in a folder, copies counted: content, flags, keywords, date, whether it is new."""
    names = dict(line.split(" ", 1) for line in _lines(folder / "dovecot-keywords"))
    found: Counter[tuple[object, ...]] = Counter()
    for message in messages(opened(folder)).values():
        path = folder / message.part / message.name
        words = frozenset(names[str(ord(flag) - 97)] for flag in message.flags if flag.islower())
        capitals = "".join(filter(str.isupper, message.flags))
        found[path.read_bytes(), capitals, words, int(path.stat().st_mtime), message.part] += 1
    return found


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


@pytest.mark.parametrize("form", ["mbox-tree", "tar"])
def test_there_and_back_with_folders(maildir_export, maildir, tmp_path, form, capfd):
    maildir_export(maildir, "--format", form, "--output", tmp_path / "out")
    source = tmp_path / "out"
    if form == "tar":
        subprocess.run(["tar", "-C", new_maildir(tmp_path / "unpacked"), "-xf", source], check=True)
        source = tmp_path / "unpacked"
    back = new_maildir(tmp_path / "back")

    assert runner(importing.main, capfd)(back, source).code == 0

    assert essence(back) == essence(maildir)
    assert essence(back / ".A.B") == essence(maildir / ".A.B")
    if form == "tar":
        assert (back / ".Empty").is_dir()


def test_messages_come_back_from_files(maildir_export, maildir, tmp_path, capfd):
    maildir_export(maildir, "--format", "eml", "--output", tmp_path / "out")
    subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=tmp_path / "out", check=True)
    (tmp_path / "out/SHA256SUMS").unlink()
    back = new_maildir(tmp_path / "back")

    assert runner(importing.main, capfd)(back, tmp_path / "out", "--dates", "file").code == 0

    assert {(content, value[2]) for content, value in stored(back).items()} == {
        (content, when) for content, _, _, when, _ in essence(maildir)
    }
    assert len(stored(back / ".A.B")) == 1


LINES = st.sampled_from([b"a: b\n", b"\n", b"From x Tue Nov 24 10:00:00 2026\n", b">From y\n", b"Status: R\n",
                         b"Content-Length: 2\n", b"text\n", b"X-Keywords: q\n", b"\xff\x00\r\n"])  # fmt: skip
MAIL = st.lists(
    st.tuples(
        st.lists(LINES, max_size=6).map(lambda lines: b"Subject: x\n" + b"".join(lines)),
        st.sets(st.sampled_from("DFPRSTac")).map(lambda flags: "".join(sorted(flags))),
        st.integers(0, 2**31),
    ),
    max_size=5,
)


@pytest.mark.parametrize("form", ["mbox", "tar"])
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(mail=MAIL)
def test_any_mail_comes_back(form, mail, tmp_path_factory, capfd):
    folder = tmp_path_factory.mktemp("round")
    maildir, back = new_maildir(folder / "there"), new_maildir(folder / "back")
    for number, (content, flags, when) in enumerate(mail):
        name = f"cur/{number}.x:2,{flags}" if flags else f"new/{number}.x"
        put(maildir, name, content, when)
    put(maildir, "dovecot-keywords", b"0 work\n2 $Junk\n")
    assert runner(module.main, capfd)(maildir, "--format", form, "--output", folder / "out").code == 0
    source = folder / "out"
    if form == "tar":
        with tarfile.open(source) as archive:
            archive.extractall(folder / "unpacked", filter="data")
        source = folder / "unpacked"

    for _ in range(2):
        assert runner(importing.main, capfd)(back, source).code == 0

    assert essence(back) == essence(maildir)


def test_real_mail_comes_back(maildir_export, tmp_path, capfd):
    need("corpus")
    maildir, back = new_maildir(tmp_path / "bob"), new_maildir(tmp_path / "back")
    for number, path in enumerate(sorted(CORPUS.glob("*.eml"))):
        put(maildir, f"cur/{number:04}.x:2,S", path.read_bytes(), WHEN + number)

    assert maildir_export(maildir, "--format", "mbox", "--output", tmp_path / "out").code == 0
    assert runner(importing.main, capfd)(back, tmp_path / "out").code == 0

    assert essence(back) == essence(maildir)
