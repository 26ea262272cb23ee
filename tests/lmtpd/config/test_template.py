"""The Maildirs' path template: where its trusted root ends."""

import pytest

from lmtpd.config.template import Template, parse_template


@pytest.mark.parametrize(
    "given, expected",
    [
        (
            "/srv/mail/{domain}/{user}",
            Template("/srv/mail/{domain}/{user}", "/srv/mail", ("{domain}", "{user}")),
        ),
        ("/home/{user}/Maildir", Template("/home/{user}/Maildir", "/home", ("{user}", "Maildir"))),
        ("/{user}", Template("/{user}", "/", ("{user}",))),
        ("{user}", Template("/work/{user}", "/work", ("{user}",))),
        (
            "mail/x-{user}+{detail}",
            Template("/work/mail/x-{user}+{detail}", "/work/mail", ("x-{user}+{detail}",)),
        ),
        ("../mail/./{user}/", Template("/mail/{user}", "/mail", ("{user}",))),
        (
            "/srv//mail//{domain}/./{user}//",
            Template("/srv/mail/{domain}/{user}", "/srv/mail", ("{domain}", "{user}")),
        ),
        ("/srv/{user}/{user}", Template("/srv/{user}/{user}", "/srv", ("{user}", "{user}"))),
    ],
)
def test_root_ends_before_the_first_placeholder(given, expected, monkeypatch):
    monkeypatch.setattr("os.getcwd", lambda: "/work")

    assert parse_template(given) == expected
