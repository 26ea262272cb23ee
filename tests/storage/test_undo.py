import json
import os

import pytest

from storage.errors import MailboxUnusable
from storage.findings import Place
from storage.taking_back import take_back
from storage.undo import Step, UndoLog, latest, steps
from tests.support.requirements import need
from tests.support.scripting import opened

STEP = Step("rename", Place((".A",), "cur", "x\udcff:2,"), "new", "y", (1, 2), b"\x00\xff")


def written(folder, *some, now=5):
    log = UndoLog(opened(folder), now=now)
    log.begin()
    log.add(some)
    log.close()
    return log.name


def test_steps_come_back_as_they_were(tmp_path):
    name = written(tmp_path, STEP, Step("directory", Place((), "tmp", "")))

    assert steps(opened(tmp_path), name) == [STEP, Step("directory", Place((), "tmp", ""))]
    assert (tmp_path / name).stat().st_mode & 0o777 == 0o600


def test_a_line_that_was_never_finished_is_none(tmp_path):
    name = written(tmp_path, STEP)
    with (tmp_path / name).open("ab") as file:
        file.write(STEP.line()[:20])

    assert steps(opened(tmp_path), name) == [STEP]


def test_the_latest_is_the_one_to_take_back(tmp_path):
    for now in (9, 10, 2):
        written(tmp_path, now=now)
    (tmp_path / "maildir-check.undo.x").touch()

    assert latest(opened(tmp_path)) == "maildir-check.undo.10"


@pytest.mark.parametrize(
    "line",
    [
        "rubbish", "[]", "{}",
        json.dumps(["rename", [["..", "x"], "cur", "x"], "cur", "y", [], None]),
        json.dumps(["rename", [[], "cur", "a/b"], "cur", "y", [], None]),
        json.dumps(["rename", [[], "cur", "x"], "cur", "../y", [], None]),
        json.dumps(["mode", [[], "cur", "x"], "", "", ["x"], None]),
    ],
)  # fmt: skip
def test_what_is_no_log_of_ours(tmp_path, line):
    name = written(tmp_path)
    (tmp_path / name).write_text(line + "\n")

    with pytest.raises(MailboxUnusable, match="no undo log"):
        steps(opened(tmp_path), name)


@pytest.mark.parametrize("change", ["owner", "second name"])
def test_root_believes_only_what_nobody_else_can_have_written(tmp_path, change):
    need("root")
    name = written(tmp_path, STEP)
    if change == "owner":
        os.chown(tmp_path / name, 8, 8)
    else:
        os.link(tmp_path / name, tmp_path / "second")

    with pytest.raises(MailboxUnusable, match="not root's"):
        steps(opened(tmp_path), name)


def test_a_link_is_no_log(tmp_path):
    (tmp_path / "maildir-check.undo.1").symlink_to("/etc/passwd")

    with pytest.raises(OSError):
        steps(opened(tmp_path), "maildir-check.undo.1")


def test_a_deed_of_another_version_and_a_folder_that_is_gone_are_told(tmp_path):
    name = written(tmp_path, Step("dance", Place((), "", "x")), Step("directory", Place((".A",), "tmp", "")))

    errors = [taken.error for taken in take_back(opened(tmp_path), name, dry_run=False)]

    assert "No such file" in errors[0]
    assert "no deed of this version" in errors[1]
    assert (tmp_path / name).exists()
