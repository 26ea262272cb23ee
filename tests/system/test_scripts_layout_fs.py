"""Folders that lie in each other, as Dovecot shows them: the scripts' trash is none of them."""

import shutil

import pytest

from scripts import expire
from tests.support.dovecot import OWNER, Dovecot, dovecot
from tests.support.imap_view import view
from tests.support.postfix import public_folder
from tests.support.requirements import need
from tests.support.scripting import runner

pytestmark = [pytest.mark.system, pytest.mark.xdist_group("dovecot")]

FOLDERS = ("INBOX", "A", "A/B")


def listed_anew(instance: Dovecot) -> list[str]:
    """List the folders as a new client, and after a change: nothing is remembered from before."""
    client = instance.imap("bob@example.org")
    client.create("C")
    client.delete("C")
    listed = sorted(map(repr, client.list()[1]))
    client.logout()
    return listed


def test_the_trash_is_no_folder_and_mail_comes_back(capfd):
    need("root", "dovecot")
    with public_folder("fs") as mail:
        shutil.chown(mail, OWNER, OWNER)
        with dovecot(mail, layout="fs") as instance:
            client = instance.imap("bob@example.org")
            for folder in FOLDERS:
                client.create(folder)
                client.append(folder, "", "", b"Subject: %s\r\n\r\n" % folder.encode())
            before = {folder: view(client, folder) for folder in FOLDERS}
            folders = sorted(map(repr, client.list()[1]))
            script = runner(expire.main, capfd)
            everybody = (
                "--all",
                "--mailboxes",
                f"{mail}/{{domain}}/{{user}}",
                "--set",
                "mailboxes.layout=fs",
            )

            result = script(*everybody, "--keep", "INBOX=0", "--keep", "*=0")

            assert result.code == 0, result.err
            assert {folder: view(client, folder)[1] for folder in FOLDERS} == {
                folder: {} for folder in FOLDERS
            }
            assert listed_anew(instance) == folders

            assert script(*everybody, "--undo").code == 0

            for folder in FOLDERS:
                validity, messages = view(client, folder)
                assert validity == before[folder][0]
                assert list(messages.values()) == list(before[folder][1].values())
            assert not list(mail.rglob("*lmtpd-trash*"))
            client.logout()
            assert "Error" not in instance.log, instance.log
