"""Whose mailboxes are, where each owner delivers to himself."""

import os
from pathlib import Path

from lmtpd.cli.doctor.mailboxes import check_mailboxes
from lmtpd.cli.doctor.process import server_uid
from lmtpd.config import Override, load
from tests.support.configs import setting
from tests.support.requirements import need


def test_mailboxes_whose_owner_gets_no_mail_are_found(tmp_path: Path):
    need("root")
    for user, uid, gid in (("fine", 1000, 1000), ("low", 999, 999), ("root", 0, 0), ("group", 1000, 0)):
        path = tmp_path / "example.org" / user
        path.mkdir(parents=True, mode=0o700)
        os.chown(path, uid, gid)
    mailboxes = Override("--mailboxes", f"{tmp_path}/{{domain}}/{{user}}")
    config = load(None, [mailboxes, setting("server.run_as=recipient")])

    found = list(check_mailboxes(config, server_uid(config)))

    told = {each.problem.partition(" is ")[0].rpartition("/")[2]: each for each in found}
    assert set(told) == {"low", "root", "group"}
    assert {each.key for each in found} == {"mailboxes.owner"}
    assert told["root"].problem.endswith(" is root's, whose rights no mail is delivered with")
    assert told["root"].mend == f"chown -R USER: {tmp_path}/example.org/root"
