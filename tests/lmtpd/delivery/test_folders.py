"""Folders that a delivery makes: named and subscribed as the mailbox has it."""

from pathlib import Path
from typing import Any

import pytest

from lmtpd.protocol.addresses import Address
from lmtpd.recipients.directory import Directory
from lmtpd.recipients.maildirs import Detail, MaildirSource
from storage.disk import Disk
from storage.folders import FolderNames
from tests.support.recipients import rules
from tests.support.services import BODY, deliver, files, make_service

ALICE = "\u00e9ve+Gr\u00fc\u00dfe.A@example.org"


def delivered(tmp_path: Path, **changes: Any) -> Path:
    """Deliver to a folder; return the Maildir."""
    service = make_service(tmp_path)
    own = rules(tmp_path / "mail", create=True, detail=Detail.CREATE, **changes)
    service.directory = Directory([MaildirSource(Disk(), own)], postmaster=Address("p", "x"))
    _, (reply,) = deliver(service, [ALICE], BODY)
    assert reply.code == 250
    return tmp_path / "mail/example.org/\u00e9ve"


WRITTEN = [(FolderNames.UTF7, ".Gr&APwA3w-e.A"), (FolderNames.UTF8, ".Gr\u00fc\u00dfe.A")]


@pytest.mark.parametrize("names, folder", WRITTEN)
def test_names_are_written_as_configured(tmp_path: Path, names: FolderNames, folder: str):
    delivered(tmp_path, names=names)

    assert len(files(tmp_path, "example.org/\u00e9ve", folder)) == 1
    assert (tmp_path / "mail/example.org/\u00e9ve" / folder / "maildirfolder").exists()


def test_a_new_folder_is_subscribed_where_that_is_wished(tmp_path: Path):
    maildir = delivered(tmp_path, subscribe=True)

    assert (maildir / "subscriptions").read_text() == "V\t2\n\nGr&APwA3w-e\tA\n"


def test_it_is_not_subscribed_otherwise(tmp_path: Path):
    assert not (delivered(tmp_path) / "subscriptions").exists()


def test_a_locked_list_does_not_stop_the_delivery(tmp_path: Path):
    maildir = tmp_path / "mail/example.org/\u00e9ve"
    maildir.mkdir(parents=True)
    (maildir / "subscriptions.lock").touch()

    delivered(tmp_path, subscribe=True)

    assert not (maildir / "subscriptions").exists()


@pytest.mark.parametrize("levels, folders", [(1, ()), (2, (".Gr&APwA3w-e.A",))])
def test_names_deeper_than_allowed_go_to_the_inbox(tmp_path: Path, levels: int, folders: tuple[str, ...]):
    delivered(tmp_path, levels=levels)

    assert len(files(tmp_path, "example.org/\u00e9ve", *folders)) == 1
