"""What goes from Maildirs, by whomever."""

import shutil

import pytest

from storage.watch import MaildirsWatch
from tests.support.polling import wait_for
from tests.support.quotas import make_maildir


@pytest.fixture
def losses():
    watch = MaildirsWatch(maildirs=2, directories=20)
    yield watch
    watch.close()


def taken(watch):
    """Wait for a loss; return the Maildirs."""
    found = set()

    def look():
        found.update(watch.take())
        return bool(found)

    wait_for(look, "a loss")
    return found


@pytest.mark.parametrize("part", ["new", "cur", ".Lists/cur"])
def test_a_message_that_is_deleted_or_taken_elsewhere_is_a_loss(tmp_path, losses, part):
    maildir = make_maildir(tmp_path / "box")
    make_maildir(maildir / ".Lists")
    for name in ("one", "two"):
        (maildir / part / name).write_text("")
    assert losses.add(str(maildir))

    (maildir / part / "one").unlink()
    assert taken(losses) == {str(maildir)}
    (maildir / part / "two").rename(tmp_path / "elsewhere")
    assert taken(losses) == {str(maildir)}


def test_a_folder_that_is_removed_is_a_loss(tmp_path, losses):
    maildir = make_maildir(tmp_path / "box")
    (maildir / ".Lists").mkdir()
    losses.add(str(maildir))

    (maildir / ".Lists").rmdir()

    assert taken(losses) == {str(maildir)}


def test_what_comes_and_what_gets_flags_is_no_loss(tmp_path, losses):
    quiet, other = make_maildir(tmp_path / "quiet"), make_maildir(tmp_path / "other")
    (other / "cur/x").write_text("")
    losses.add(str(quiet))
    losses.add(str(other))

    (quiet / "tmp/one").write_text("")
    (quiet / "tmp/one").rename(quiet / "new/one")
    (quiet / "new/one").rename(quiet / "cur/one:2,S")
    (quiet / "tmp/two").write_text("")
    (quiet / "tmp/two").unlink()
    (other / "cur/x").unlink()

    assert taken(losses) == {str(other)}


def test_the_oldest_makes_place(tmp_path, losses):
    boxes = [str(make_maildir(tmp_path / name)) for name in "abc"]
    losses.add(boxes[0])
    losses.add(boxes[1])
    losses.add(boxes[0])

    losses.add(boxes[2])

    assert losses.watched == {boxes[0], boxes[2]}


@pytest.mark.parametrize("folders, fits", [(4, True), (5, False)])
def test_a_mailbox_with_too_many_directories_is_not_watched(tmp_path, losses, folders, fits):
    maildir = make_maildir(tmp_path / "box")
    for index in range(folders):
        make_maildir(maildir / f".{index}")

    assert losses.add(str(maildir)) is fits


def test_a_missing_maildir_is_told_and_the_watch_goes_on(tmp_path, losses):
    with pytest.raises(OSError, match="No such file"):
        losses.add(str(tmp_path / "missing"))

    assert losses.add(str(make_maildir(tmp_path / "box")))


def test_a_watched_maildir_may_go(tmp_path, losses):
    maildir = make_maildir(tmp_path / "box")
    losses.add(str(maildir))

    shutil.rmtree(maildir)

    assert taken(losses) == {str(maildir)}
