"""`maildirsize` beside the programs that share it: Dovecot's quota plugin and Courier's deliverquota."""

import subprocess

import pytest

from storage.quota import Full
from storage.quota_count import Counting
from storage.quota_limit import QuotaLimit, Usage
from tests.support.dovecot_quota import DovecotQuota
from tests.support.postfix import public_folder
from tests.support.quotas import box_of, files_of, lines_of, put
from tests.support.requirements import need, program

pytestmark = pytest.mark.system

COURIER = Counting(ignored=frozenset({"Trash"}), counts_trashed=False)
MESSAGE = b"Subject: hello\n\nhello\n"


# ---- Courier


@pytest.fixture
def courier(tmp_path):
    """A Maildir that Courier's tool has made, with a quota."""
    need("maildirmake.maildrop", "deliverquota.maildrop")
    maildir = tmp_path / "box"
    run("maildirmake.maildrop", maildir)
    run("maildirmake.maildrop", "-q", "1000S,10C", maildir)
    return maildir


def run(name, *arguments, stdin=b"", code=0):
    command = [program(name), *map(str, arguments)]
    done = subprocess.run(command, input=stdin, capture_output=True, check=False, timeout=60)
    assert done.returncode == code, done.stderr.decode()


def deliverquota(maildir, message=MESSAGE, *, code=0):
    run("deliverquota.maildrop", maildir, stdin=message, code=code)


def test_we_read_what_courier_has_made_and_entered(courier):
    deliverquota(courier)
    deliverquota(courier)

    standing = files_of().standing(box_of(courier, None, COURIER))

    assert standing.limit == QuotaLimit(1000, 10)
    assert standing.usage == Usage(2 * len(MESSAGE), 2)
    assert standing.usage == files_of().actual(box_of(courier, None, COURIER))


def test_courier_reads_what_we_have_entered(courier):
    files_of().reserve(box_of(courier, None, COURIER), Usage(900, 1)).keep()
    put(courier, 900)

    deliverquota(courier)
    deliverquota(courier, MESSAGE + b"x" * 100, code=77)

    assert files_of().standing(box_of(courier, None, COURIER)).usage == Usage(900 + len(MESSAGE), 2)


def test_courier_reads_the_file_that_we_have_made(courier):
    put(courier, 950)
    (courier / "maildirsize").unlink()
    files_of().standing(box_of(courier, "1000,10M", COURIER))

    deliverquota(courier)
    deliverquota(courier, MESSAGE + b"x" * 100, code=77)


def test_the_limit_that_courier_has_set_is_ours(courier):
    deliverquota(courier)

    with pytest.raises(Full):
        files_of().reserve(box_of(courier, None, COURIER), Usage(1000 - len(MESSAGE) + 1, 1))
    files_of().reserve(box_of(courier, None, COURIER), Usage(1000 - len(MESSAGE), 1)).keep()


def test_both_count_the_same(courier):
    """Over quota, Courier counts anew: what it then writes down is what we would."""
    for name in (".Trash", ".Lists"):
        run("maildirmake.maildrop", "-f", name[1:], courier)
        put(courier / name, 100)
    put(courier, 300, flags="T")
    put(courier, 20, named=False)
    put(courier, 40, part="new")
    with (courier / "maildirsize").open("a") as file:
        file.write("5000 1\n")

    deliverquota(courier, MESSAGE + b"x" * 2000, code=77)

    assert lines_of(courier) == ["1000S,10C", "160 3"]
    assert files_of().actual(box_of(courier, None, COURIER)) == Usage(160, 3)


# ---- Dovecot


@pytest.fixture(scope="module")
def dovecot_quota():
    need("root", "dovecot", "doveadm")
    with public_folder("quota") as folder:
        yield DovecotQuota(folder)


@pytest.fixture
def mailbox(dovecot_quota, request):
    """A mailbox that Dovecot serves, with a limit of a megabyte there."""
    return dovecot_quota.mailbox(request.node.name[:40].replace("[", "-").replace("]", ""))


def test_we_read_what_dovecot_has_entered(mailbox):
    mailbox.save("INBOX", MESSAGE)
    mailbox.save("INBOX", MESSAGE)

    standing = files_of().standing(box_of(mailbox.path, "1M"))

    assert standing.usage.messages == 2
    assert standing.usage == files_of().actual(box_of(mailbox.path, "1M"))
    assert mailbox.usage() == standing.usage


def test_dovecot_reads_what_we_have_entered(mailbox):
    mailbox.save("INBOX", MESSAGE)
    before = mailbox.usage()

    put(mailbox.path, 2048, part="new")
    mailbox.own()
    files_of().reserve(box_of(mailbox.path, "1M"), Usage(2048, 1)).keep()

    assert mailbox.usage() == before + Usage(2048, 1)


def test_dovecot_reads_the_file_that_we_have_made_and_counts_the_same(mailbox):
    mailbox.save("INBOX", MESSAGE)
    mailbox.save("Lists.python", MESSAGE)
    mailbox.save("Trash", MESSAGE)
    put(mailbox.path, 300, flags="T")
    put(mailbox.path, 70, named=False)
    counted = files_of().recount(box_of(mailbox.path, "1M")).usage
    mailbox.own()

    assert mailbox.usage() == counted
    mailbox.recalculate()

    assert mailbox.usage() == counted
    assert lines_of(mailbox.path) == ["1048576S", f"{counted.octets} {counted.messages}"]


def test_dovecot_refuses_what_our_entries_leave_no_room_for(mailbox):
    files_of().reserve(box_of(mailbox.path, "1M"), Usage(1 << 20, 1)).keep()
    put(mailbox.path, 1 << 20)
    mailbox.own()

    assert "Quota exceeded" in mailbox.save("INBOX", MESSAGE, fails=True)


def test_what_dovecot_deletes_is_taken_off(mailbox):
    mailbox.save("INBOX", MESSAGE)
    files_of().reserve(box_of(mailbox.path, "1M"), Usage(2048, 1)).keep()
    put(mailbox.path, 2048)
    mailbox.own()

    mailbox.expunge("INBOX")

    assert files_of().standing(box_of(mailbox.path, "1M")).usage == Usage(0, 0)


def test_the_limit_that_dovecot_has_written_down_can_be_ours(mailbox):
    mailbox.save("INBOX", MESSAGE)

    assert files_of().standing(box_of(mailbox.path, None)).limit == QuotaLimit(1 << 20)
