import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from storage.errors import MailboxMissing
from storage.folders import (
    FOLDER_OCTETS,
    LEVELS,
    NAME_OCTETS,
    FolderNameError,
    Layout,
    create_folder,
    folder_of_name,
    folder_parts,
)
from tests.support.memory_disk import MemoryDisk
from tests.support.storing import PATH, ROOT, USER, deliver, maildirs_on

BOTH = pytest.mark.parametrize("layout", list(Layout))


# -- where a folder lies


@pytest.mark.parametrize(
    "folder, maildirpp, fs",
    [
        ("Sent", (".Sent",), ("Sent",)),
        ("A/B", (".A.B",), ("A", "B")),
        ("été/à & b", (".&AOk-t&AOk-.&AOA- &- b",), ("&AOk-t&AOk-", "&AOA- &- b")),
        ("INBOX", (), ()),
        ("inbox", (), ()),
        ("Inbox/x", (".Inbox.x",), ("Inbox", "x")),
        (" ", (". ",), (" ",)),
        ("newer", (".newer",), ("newer",)),
    ],
)
def test_folders_lie_where_dovecot_looks_for_them(folder, maildirpp, fs):
    assert folder_parts(Layout.MAILDIRPP, folder) == maildirpp
    assert folder_parts(Layout.FS, folder) == fs


@BOTH
@pytest.mark.parametrize(
    "folder",
    [
        *("", "/", "/a", "a/", "a//b", ".", "..", "a/..", "../a", "a/../../b"),
        *("a\0b", "a\nb", "\x7f", "a\x85", "a\udc00", "\ud800"),
    ],
)
def test_unsafe_names_are_refused(layout, folder):
    with pytest.raises(FolderNameError):
        folder_parts(layout, folder)


@pytest.mark.parametrize("folder", ["a.b", ".a", "a.", "a/.b"])
def test_a_dot_separates_levels_in_maildirpp(folder):
    with pytest.raises(FolderNameError, match="dot"):
        folder_parts(Layout.MAILDIRPP, folder)


@pytest.mark.parametrize(
    "folder",
    [
        *("new", "cur", "tmp", "a/new", "new/a", ".hidden", "a/.dovecot.sieve", "~", "~root"),
        *("dovecot-uidlist", "Dovecot.index", "subscriptions", "subscriptions.lock", "maildirsize"),
        *("maildirfolder", "a/maildirfolder", "courierimapsubscribed", "shared-folders"),
    ],
)
def test_names_that_have_another_use_are_refused_in_fs(folder):
    with pytest.raises(FolderNameError, match="another use"):
        folder_parts(Layout.FS, folder)


@pytest.mark.parametrize("folder", ["new", "dovecot-uidlist", "~x"])
def test_in_maildirpp_they_have_none(folder):
    assert folder_parts(Layout.MAILDIRPP, folder) == ("." + folder,)


@BOTH
@pytest.mark.parametrize("levels, is_allowed", [(LEVELS - 1, True), (LEVELS, True), (LEVELS + 1, False)])
def test_levels_are_limited(layout, levels, is_allowed):
    assert allows(layout, "/".join("a" * levels)) is is_allowed


@pytest.mark.parametrize(
    "octets, is_allowed", [(NAME_OCTETS - 1, True), (NAME_OCTETS, True), (NAME_OCTETS + 1, False)]
)
def test_a_name_is_limited_as_it_stands_on_disk(octets, is_allowed):
    assert allows(Layout.FS, "a" * octets) is is_allowed
    assert allows(Layout.MAILDIRPP, "a" * (octets - 1)) is is_allowed
    assert allows(Layout.FS, "&" + "a" * (octets - 2)) is is_allowed


@pytest.mark.parametrize(
    "octets, is_allowed", [(FOLDER_OCTETS - 1, True), (FOLDER_OCTETS, True), (FOLDER_OCTETS + 1, False)]
)
def test_all_names_together_are_limited(octets, is_allowed):
    folder = "/".join(["a" * 200] * 5 + ["b" * (octets - 1000)])

    assert allows(Layout.FS, folder) is is_allowed


def allows(layout, folder):
    try:
        folder_parts(layout, folder)
    except FolderNameError:
        return False
    return True


FOLDERS = st.one_of(
    st.text(max_size=40),
    st.lists(st.sampled_from(["..", ".", "", "a", "é", "new", "\0", "INBOX", "&", "~"]), max_size=6).map(
        "/".join
    ),
)


@BOTH
@given(folder=FOLDERS)
def test_a_folder_never_escapes(layout, folder):
    try:
        parts = folder_parts(layout, folder)
    except FolderNameError:
        return

    for part in parts:
        assert part not in ("", ".", "..", "new", "cur", "tmp")
        assert "/" not in part
        assert part.isascii() and part.isprintable()
        assert len(part) <= NAME_OCTETS
    if layout is Layout.MAILDIRPP:
        assert all(part.startswith(".") for part in parts)


SAFE = st.lists(st.text("ab&-,+Aé", min_size=1, max_size=3), min_size=1, max_size=3).map("/".join)


@BOTH
@given(one=SAFE, other=SAFE)
def test_two_folders_never_share_a_directory(layout, one, other):
    assume(one != other)

    assert folder_parts(layout, one) != folder_parts(layout, other)


@given(folder=SAFE)
def test_a_directory_tells_its_folder(folder):
    (name,) = folder_parts(Layout.MAILDIRPP, folder)

    assert folder_of_name(name) == folder


@pytest.mark.parametrize(
    "name", ["", "a", ".", "..", "...", ".a.", ".a..b", ".&AGE-", ".INBOX", ".a\n", "." + "a" * 255, ".é"]
)
def test_other_directories_are_no_folders(name):
    assert folder_of_name(name) is None


# -- making one


@pytest.fixture
def disk():
    disk = MemoryDisk()
    disk.make(f"{PATH}/new")
    disk.make(f"{ROOT}/example.org/other")
    return disk


def test_a_folder_is_made_with_its_marker(disk):
    folder = create_folder(maildirs_on(disk), USER, Layout.MAILDIRPP, folder="A/B")

    assert folder.path == f"{PATH}/.A.B"
    assert disk.files(folder.path) == {"maildirfolder": b""}
    assert disk.files(PATH) == {}


def test_a_folder_of_the_layout_fs_has_no_marker(disk):
    folder = create_folder(maildirs_on(disk), USER, Layout.FS, folder="A/B")

    assert folder.path == f"{PATH}/A/B"
    assert disk.files(folder.path) == {}


@BOTH
def test_the_inbox_is_there_already(disk, layout):
    folder = create_folder(maildirs_on(disk), USER, layout, folder="INBOX")

    assert folder.path == PATH
    assert disk.files(PATH) == {}


@BOTH
def test_a_message_in_a_new_folder_survives_a_cut(disk, layout):
    maildirs = maildirs_on(disk)
    folder = create_folder(maildirs, USER, layout, folder="A/B")
    deliver(maildirs, b"hello", where=folder.where, create=False)

    disk.restart()

    assert list(disk.files(f"{folder.path}/new").values()) == [b"hello"]


def test_a_folder_makes_no_mailbox(disk):
    disk.remove(PATH)

    with pytest.raises(MailboxMissing):
        create_folder(maildirs_on(disk), USER, Layout.MAILDIRPP, folder="A")


def test_an_impossible_folder_is_refused_before_anything_is_made(disk):
    with pytest.raises(FolderNameError):
        create_folder(maildirs_on(disk), USER, Layout.FS, folder="../other")

    assert disk.log == []
