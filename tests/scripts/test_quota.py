import json
import os
import pwd

import pytest

from scripts.quota import main
from storage.disk import Disk
from tests.support.quotas import lines_of, make_maildir, put
from tests.support.requirements import need
from tests.support.scripting import runner, tree


@pytest.fixture
def quota(capfd):
    return runner(main, capfd)


@pytest.fixture
def maildir(tmp_path):
    """A mailbox of 300 octets whose file knows of the first 100."""
    maildir = make_maildir(tmp_path / "mail/example.org/bob")
    put(maildir, 100)
    (maildir / "maildirsize").write_text("1000S,10C\n100 1\n")
    put(make_maildir(maildir / ".Lists"), 200)
    return maildir


@pytest.fixture
def everybody(tmp_path, maildir):
    """More mailboxes, and the flags that find them."""
    put(make_maildir(tmp_path / "mail/example.org/eve"), 950)
    make_maildir(tmp_path / "mail/example.net/new")
    return ["--all", "--mailboxes", f"{tmp_path}/mail/{{domain}}/{{user}}", "--state", tmp_path / "state"]


def test_limit_and_use_are_what_the_file_says(maildir, quota):
    before = tree(maildir)

    result = quota(maildir, "--json")

    assert result.facts == [
        {
            "maildir": str(maildir),
            "kind": "quota",
            "limit": "1000,10M",
            "limit_octets": 1000,
            "limit_messages": 10,
            "octets": 100,
            "messages": 1,
            "percent": 10.0,
        }
    ]
    assert tree(maildir) == before


def test_people_get_a_line(maildir, quota):
    result = quota(maildir)

    assert result.out.splitlines()[1].split()[1:] == ["100", "octets", "1", "1000,10M", "10.0", "%"]


@pytest.mark.parametrize("text", [None, "", "garbage\n"])
def test_without_a_file_to_be_trusted_it_is_counted(maildir, quota, text):
    (maildir / "maildirsize").unlink()
    if text is not None:
        (maildir / "maildirsize").write_text(text)

    (fact,) = quota(maildir, "--json").facts

    assert (fact["octets"], fact["messages"], fact["limit"]) == (300, 2, None)


def test_counting_tells_by_how_much_the_file_was_wrong_and_changes_nothing(maildir, quota):
    before = tree(maildir)

    (fact,) = quota(maildir, "--count", "--json").facts

    assert (fact["kind"], fact["octets"], fact["octets_before"]) == ("counted", 300, 100)
    assert tree(maildir) == before
    assert "maildirsize said -200 octets, -1 messages" in quota(maildir, "--count").out


def test_recalculating_writes_it_down(maildir, quota):
    dry = quota(maildir, "--recalculate", "--dry-run", "--json")
    assert lines_of(maildir) == ["1000S,10C", "100 1"]

    result = quota(maildir, "--recalculate", "--json")

    assert lines_of(maildir) == ["1000S,10C", "300 2"]
    assert [fact["kind"] for fact in (*dry.facts, *result.facts)] == ["counted", "recalculated"]
    assert "as maildirsize said" in quota(maildir, "--recalculate").out


def test_a_limit_is_set_as_courier_would(maildir, quota):
    dry = quota(maildir, "--limit", "2K", "--dry-run", "--json")
    assert lines_of(maildir)[0] == "1000S,10C"

    result = quota(maildir, "--limit", "2K", "--json")

    assert lines_of(maildir) == ["2048S", "300 2"]
    assert [(fact["kind"], fact["limit_before"], fact["limit"]) for fact in (*dry.facts, *result.facts)] == [
        ("would set", "1000,10M", "2K"),
        ("set", "1000,10M", "2K"),
    ]
    assert quota(maildir, "--limit", "0").code == 0
    assert lines_of(maildir)[0] == "0S"


def test_what_is_no_limit_is_told(maildir, quota):
    result = quota(maildir, "--limit", "2X")

    assert result.code == os.EX_USAGE
    assert 'must be a size, and behind a comma a number of messages, such as "2G"' in result.err


def test_a_limit_that_lmtpd_would_not_keep_is_not_set(everybody, quota, maildir):
    result = quota(*everybody, "--set", "quota.default=1G", "--limit", "2G")

    assert result.code != 0
    assert lines_of(maildir)[0] == "1000S,10C"


def test_where_a_source_has_the_limit_none_is_set(everybody, quota, maildir, tmp_path):
    (tmp_path / "users").write_text(f'["bob@example.org"]\nquota = "950"\nmaildir = "{maildir}"\n')
    config = tmp_path / "lmtpd.toml"
    config.write_text(
        f'state = "{tmp_path}/state"\n[mailboxes]\npath = "{tmp_path}/mail/{{domain}}/{{user}}"\n'
        f'[quota]\ndefault = "maildirsize"\n'
        f'[[recipients]]\nsource = "file"\nfile = "{tmp_path}/users"\nformat = "toml"\n'
    )
    bob = ["--user", "bob@example.org", "--config", config]

    (fact,) = quota(*bob, "--json").facts
    result = quota(*bob, "--limit", "1G")

    assert fact["limit"] == "950"
    assert (result.code, lines_of(maildir)[0]) == (os.EX_CONFIG, "1000S,10C")


def test_all_are_reported_the_fullest_first(everybody, quota):
    result = quota(*everybody, "--set", "quota.default=1000")

    names = [line.split()[0] for line in result.out.splitlines()]
    assert names == ["mailbox", "eve@example.org", "bob@example.org", "new@example.net", "all"]
    assert "95.0 %" in result.out


def test_only_the_full_ones(everybody, quota):
    result = quota(*everybody, "--set", "quota.default=1000", "--over", "80", "--json")

    assert [fact["user"] for fact in result.facts] == ["eve@example.org"]


def test_the_largest_are_drawn(everybody, quota):
    result = quota(*everybody, "--count", "--plot", "2")

    chart = result.out.split("\n\n")[1].splitlines()
    assert chart[0] == "the 2 largest"
    assert [line.count("█") for line in chart[1:]] == [30, 9]


def test_the_configuration_says_what_counts(everybody, quota, maildir):
    flags = [*everybody, "--count", "--set", 'quota.folders=["Lists:ignore"]', "--json"]

    facts = {fact["user"]: fact["octets"] for fact in quota(*flags).facts}

    assert facts == {"bob@example.org": 100, "eve@example.org": 950, "new@example.net": 0}


def test_a_mailbox_that_cannot_be_read_stops_no_other(everybody, quota, tmp_path):
    (tmp_path / "mail/example.org/bob/maildirsize").unlink()
    (tmp_path / "mail/example.org/bob/maildirsize").mkdir()

    result = quota(*everybody, "--json")

    assert result.code != 0
    assert "example.org/bob: " in result.err
    assert len(result.facts) == 2


def test_started_as_root_the_file_is_the_owners(maildir, quota):
    need("root")
    nobody = pwd.getpwnam("nobody")
    for path in (maildir, *maildir.rglob("*")):
        os.chown(path, nobody.pw_uid, nobody.pw_gid)
    for parent in maildir.parents[:5]:
        parent.chmod(0o755)
    (maildir / "maildirsize").unlink()

    assert quota(maildir, "--limit", "1000").code == 0

    assert (maildir / "maildirsize").stat().st_uid == nobody.pw_uid


def test_while_something_is_being_delivered_the_count_waits(maildir, quota):
    disk = Disk()
    fd = disk.open_to_append(str(maildir / "maildirsize"))
    disk.lock_shared(fd)

    result = quota(maildir, "--recalculate", "--json")  # 2 s, then without

    disk.close(fd)
    assert json.loads(result.out)["octets"] == 300


@pytest.mark.parametrize("flags", [["--limit", "2G"], ["--recalculate"], ["--count"], []])
def test_what_is_no_maildir_is_left_as_it_is(quota, tmp_path, flags):
    place = tmp_path / "empty"
    place.mkdir()

    result = quota(place, *flags)

    assert result.code == os.EX_NOPERM
    assert "no Maildir" in result.err
    assert list(place.iterdir()) == []


def test_what_is_missing_is_said_without_numbers_and_with_its_path(quota):
    result = quota("//nonexist")

    assert (result.code, result.out) == (os.EX_NOINPUT, "")
    assert result.err == "maildir-quota: /nonexist: nonexist: No such file or directory\n"
