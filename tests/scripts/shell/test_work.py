"""One run over many Maildirs: workers that die, failures, interruptions, resuming."""

import os
import signal

import click
import pytest

from scripts.shell.crew import Progressed
from scripts.shell.failures import Failure
from scripts.shell.running import Script, run_script
from scripts.shell.selection import takes_maildirs
from scripts.shell.work import takes_run
from tests.support.requirements import need
from tests.support.scripting import new_maildir, runner


@pytest.fixture
def users(tmp_path):
    for number in range(6):
        new_maildir(tmp_path / "mail" / f"u{number}")
    return tmp_path / "mail"


def script_of(job, capfd):
    tallies = []

    @click.command(cls=Script)
    @takes_maildirs()
    @takes_run
    def command(run):
        tallies.append(run.go(job, lambda fact: click.echo(f"{fact['kind']} {fact['user']}")))
        return tallies[-1].code

    def run(*arguments):
        result = runner(lambda argv: run_script(command, "maildir-test", argv), capfd)(*arguments)
        return result, tallies[-1] if tallies else None

    return run


def every(users, *more):
    return ("--all", "--mailboxes", f"{users}/{{user}}", *more)


def test_facts_come_with_their_maildir_and_are_counted(users, capfd):
    def job(target, maildir):
        yield Progressed(10)
        yield {"kind": "seen"}

    result, tally = script_of(job, capfd)(*every(users))

    assert sorted(result.out.splitlines()) == [f"seen u{number}" for number in range(6)]
    assert (tally.maildirs, tally.messages, tally.kinds["seen"]) == (6, 60, 6)


def test_many_facts_of_many_maildirs_all_arrive(users, capfd):
    def job(target, maildir):
        for _ in range(1000):
            yield {"kind": "seen"}

    _, tally = script_of(job, capfd)(*every(users, "--jobs", "4"))

    assert tally.kinds["seen"] == 6000


def test_a_worker_that_dies_costs_its_maildir_only(users, capfd):
    def job(target, maildir):
        if target.user == "u2":
            os.kill(os.getpid(), signal.SIGKILL)
        yield {"kind": "seen"}

    result, tally = script_of(job, capfd)(*every(users, "--jobs", "1"))

    assert result.code == os.EX_SOFTWARE
    assert "u2: the worker process ended (-9)" in result.err
    assert tally.maildirs == 5


@pytest.mark.parametrize(
    "error, code, text",
    [
        (FileNotFoundError(2, "No such file"), os.EX_NOINPUT, "No such file"),
        (PermissionError(13, "Permission denied"), os.EX_NOPERM, "Permission denied"),
        (OSError(5, "Input/output error"), os.EX_IOERR, "Input/output error"),
        (Failure("not today", os.EX_TEMPFAIL), os.EX_TEMPFAIL, "not today"),
        (ValueError("odd"), os.EX_SOFTWARE, "bug: ValueError: odd"),
    ],
)
def test_a_failure_is_said_and_stops_no_other(users, capfd, error, code, text):
    def job(target, maildir):
        if target.user == "u2":
            raise error
        yield {"kind": "seen"}

    result, tally = script_of(job, capfd)(*every(users))

    assert result.code == code
    assert f"maildir-test: {users}/u2: " in result.err
    assert text in result.err
    assert tally.maildirs == 5


def test_an_interrupted_run_goes_on_where_it_was(users, tmp_path, capfd):
    def job(target, maildir):
        if target.user == "u3" and not (tmp_path / "second").exists():
            raise OSError(5, "Input/output error")
        yield {"kind": "seen"}

    run = script_of(job, capfd)
    arguments = every(users, "--resume", tmp_path / "done")
    run(*arguments)
    assert len((tmp_path / "done").read_text().splitlines()) == 5

    (tmp_path / "second").touch()
    with (tmp_path / "done").open("a") as file:
        file.write("half a li")  # a power cut
    result, _ = run(*arguments)

    assert result.out.splitlines() == ["seen u3"]
    assert not (tmp_path / "done").exists()


def test_ctrl_c_ends_the_workers(users, capfd):
    def job(target, maildir):
        (users / "pid").write_text(str(os.getpid()))
        os.kill(os.getppid(), signal.SIGINT)
        signal.pause()
        yield {}

    result, _ = script_of(job, capfd)(users / "u1", "--jobs", "1")

    assert result.code == 130
    with pytest.raises(ProcessLookupError):
        os.kill(int((users / "pid").read_text()), 0)


def test_as_root_the_job_has_the_rights_of_the_owner(users, tmp_path, capfd):
    need("root")
    secret = tmp_path / "secret"
    secret.write_text("root's")
    secret.chmod(0o600)
    os.chown(users / "u1", 8, 8)

    def job(target, maildir):
        may_read = os.access(secret, os.R_OK, effective_ids=True)
        yield {"kind": f"{os.geteuid()} {os.getegid()} {os.getgroups()} {may_read}"}

    result, _ = script_of(job, capfd)(*every(users, "--jobs", "1"))

    # One worker does them all, and is root again in between.
    assert [line for line in result.out.splitlines() if "u1" in line] == ["8 8 [8] False u1"]
    assert len([line for line in result.out.splitlines() if line.startswith("0 0 ")]) == 5


def test_a_user_who_is_none(users, capfd):
    result, _ = script_of(None, capfd)("--user", "nobody", "--mailboxes", f"{users}/{{user}}")

    assert result.code == os.EX_NOUSER
    assert "nobody: no Maildir at" in result.err


def test_users_from_a_file_each_once(users, tmp_path, capfd):
    (tmp_path / "users").write_text("# ours\nu1\n\nnobody\nU1+detail\n@\nu3")

    def job(target, maildir):
        yield {"kind": "seen"}

    result, tally = script_of(job, capfd)(
        "--user", "u3", "--users-from", tmp_path / "users", "--mailboxes", f"{users}/{{user}}"
    )

    assert sorted(result.out.splitlines()) == ["seen u1", "seen u3"]
    assert tally.maildirs == 2
    assert "nobody: no Maildir at" in result.err
    assert len(result.err.splitlines()) == 2


def test_a_file_of_users_that_is_not_there(users, tmp_path, capfd):
    result, _ = script_of(None, capfd)("--users-from", tmp_path / "none", "--mailboxes", f"{users}/{{user}}")

    assert result.code == os.EX_NOINPUT
    assert "No such file" in result.err


def test_a_root_that_is_missing_is_no_mailbox_unknown(tmp_path, capfd):
    result, _ = script_of(None, capfd)("--user", "bob", "--mailboxes", f"{tmp_path}/gone/{{user}}")

    assert result.code == os.EX_TEMPFAIL
