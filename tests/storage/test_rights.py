import os

import pytest

from storage.rights import acting_as, as_started
from tests.support.requirements import need


def ids():
    return os.getresuid(), os.getresgid(), os.getgroups()


@pytest.fixture
def before():
    need("root")
    return ids()


def test_only_the_effective_ids_change_and_come_back(before):
    with acting_as(8, 12):
        inside = ids()

    assert inside[0][:2] == (0, 8)
    assert inside[1][:2] == (before[1][0], 12)
    assert inside[2] == [12]
    assert ids() == before


def test_nothing_of_roots_is_left(before, tmp_path):
    (tmp_path / "secret").touch(mode=0o600)
    tmp_path.chmod(0o755)

    with acting_as(8, 8), pytest.raises(PermissionError):
        os.open(tmp_path / "secret", os.O_RDONLY)
    with acting_as(8, 8), pytest.raises(PermissionError):
        os.chown(tmp_path, 8, 8)


def test_an_error_gives_the_rights_back(before):
    with pytest.raises(ZeroDivisionError), acting_as(8, 8):
        raise ZeroDivisionError

    assert ids() == before


def test_for_one_call_root_again(before):
    with acting_as(8, 8):
        with as_started():
            assert os.geteuid() == 0
        assert (os.geteuid(), os.getegid(), os.getgroups()) == (8, 8, [8])


def test_one_owner_after_the_other(before):
    for uid in (8, 1, 8):
        with acting_as(uid, uid):
            assert os.geteuid() == uid
    assert ids() == before


def test_roots_own_maildir_needs_no_change(before):
    with acting_as(0, 0), as_started():
        assert ids() == before
