import os
import sys

import pytest

from lmtpd.__main__ import main


@pytest.mark.parametrize(
    "address", ["tcp:0.0.0.0:9825", "tcp:[::]:9825", "tcp:192.0.2.1:80", "tcp:mail.example.org:80"]
)
def test_addresses_that_others_reach_are_refused(address, capsys):
    assert main(["web", "--on", address]) == os.EX_USAGE
    assert "only this machine may" in capsys.readouterr().err


@pytest.mark.parametrize("address", ["unix:web.sock", "9825", "tcp:"])
def test_what_is_no_address_is_refused_with_an_example(address, capsys):
    assert main(["web", "--on", address]) == os.EX_USAGE
    assert "127.0.0.1:98" in capsys.readouterr().err


def test_missing_extra_is_one_line_with_its_installation(monkeypatch, capsys):
    for name in [name for name in sys.modules if name.startswith(("lmtpd.web", "datasette"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "datasette", None)

    assert main(["web"]) == os.EX_UNAVAILABLE
    (line,) = capsys.readouterr().err.splitlines()
    assert "pipx install 'maildir-lmtpd[web]'" in line
