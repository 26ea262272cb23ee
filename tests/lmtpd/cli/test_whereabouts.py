"""Where a delivered message is now."""

import pytest

from lmtpd.cli.whereabouts import whereabouts
from storage.folders import Layout
from storage.history import HistoryRow

FILE = "1764000000.M1P2Q3Rabc.mx,S=10,W=12"


def row(mailbox, **fields):
    return HistoryRow(
        at=1.0, outcome=fields.pop("outcome", "delivered"), mailbox=str(mailbox), file=FILE, **fields
    )


@pytest.fixture
def maildir(tmp_path):
    for directory in ("new", "cur", ".A.B/new", ".A.B/cur", "A/B/cur"):
        (tmp_path / directory).mkdir(parents=True)
    return tmp_path


@pytest.mark.parametrize(
    "placed, expected",
    [
        (f"new/{FILE}", f"new/{FILE}"),
        (f"cur/{FILE}:2,", f"cur/{FILE}:2,"),
        (f"cur/{FILE}:2,RS", f"cur/{FILE}:2,RS"),
        ("cur/1764000000.M1P2Q3Rabc.mx:2,S", "cur/1764000000.M1P2Q3Rabc.mx:2,S"),
        ("cur/1764000000.M1P2Q3Rabcd.mx,S=10,W=12:2,S", "gone: deleted, or moved out of the mailbox"),
        ("tmp-file", "gone: deleted, or moved out of the mailbox"),
    ],
)
def test_message_in_the_inbox(maildir, placed, expected):
    (maildir / placed).touch()

    assert whereabouts(row(maildir), Layout.MAILDIRPP) == expected


@pytest.mark.parametrize(
    "layout, placed", [(Layout.MAILDIRPP, ".A.B/new"), (Layout.MAILDIRPP, ".A.B/cur"), (Layout.FS, "A/B/cur")]
)
def test_message_in_a_folder(maildir, layout, placed):
    (maildir / placed / FILE).touch()

    assert whereabouts(row(maildir, folder="A/B"), layout) == f"{placed.rpartition('/')[2]}/{FILE}"


def test_recognised_message_is_looked_for_as_well(maildir):
    (maildir / "new" / FILE).touch()

    assert whereabouts(row(maildir, outcome="recognised"), Layout.MAILDIRPP) == f"new/{FILE}"


def test_message_that_was_not_delivered_is_nowhere(maildir):
    assert whereabouts(row(maildir, outcome="deferred"), Layout.MAILDIRPP) == ""


def test_mailbox_that_has_gone(tmp_path):
    assert whereabouts(row(tmp_path / "none"), Layout.MAILDIRPP).startswith("gone")


def test_mailbox_that_cannot_be_read(maildir):
    (maildir / "new").rmdir()
    (maildir / "new").touch()

    assert whereabouts(row(maildir), Layout.MAILDIRPP) == "cannot be told: Not a directory"


def test_folder_that_cannot_be():
    assert whereabouts(row("/nowhere", folder=".."), Layout.MAILDIRPP).startswith("cannot be told: ")


@pytest.mark.parametrize("placed", [".A.B/cur", ".A.B/new", "A/B/cur"])
def test_message_that_was_moved_to_another_folder(maildir, placed):
    (maildir / "A/B/new").mkdir()
    (maildir / placed / f"{FILE}:2,S").touch()

    assert whereabouts(row(maildir), Layout.MAILDIRPP) == f"moved to {placed}/{FILE}:2,S"


def test_message_that_was_copied_under_another_name_is_known_by_its_received_line(maildir):
    received = "Received: from x\n\tby mx with LMTP id t{}\n\tfor <a@b>; date\n"
    for name, number in (("1.other", 7), ("2.copy", 5), ("3.other", 55)):
        (maildir / ".A.B/cur" / f"{name},S=10,W=12:2,S").write_text(received.format(number))
    (maildir / ".A.B/cur" / "4.copy,S=100").write_text(received.format(5))

    found = whereabouts(row(maildir, transaction_id="t5"), Layout.MAILDIRPP)

    assert found == "moved to .A.B/cur/2.copy,S=10,W=12:2,S"
    assert whereabouts(row(maildir, transaction_id="t6"), Layout.MAILDIRPP).startswith("gone")
