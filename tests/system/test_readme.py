"""What README and docs/ tell an administrator to write into main.cf works as it stands there."""

import re

import pytest

from tests.support import maildirs
from tests.support.requirements import ROOT
from tests.support.site import MAIN_CF, SENDER, Site, running_site

pytestmark = [pytest.mark.system, pytest.mark.xdist_group("readme")]


def main_cf_with(parameter: str, *, page: str = "README.md") -> dict[str, str]:
    """Return the settings of the page's first block that sets the parameter, as Postfix reads them."""
    fences = re.findall(r"^```(\w*)\n(.*?)^```$", (ROOT / page).read_text(), re.MULTILINE | re.DOTALL)
    blocks = [block for language, block in fences if not language]
    block = next(block for block in blocks if re.search(rf"^{parameter} =", block, re.MULTILINE))
    # A comment is a line of its own (postconf(5)); what follows a value belongs to the value.
    lines = [line for line in block.splitlines() if line and not line.startswith("#")]
    return {name: value for name, _, value in (line.partition(" = ") for line in lines)}


def warnings(site: Site) -> list[str]:
    return re.findall(r"^.*(?:warning|error|fatal): .*$", site.postfix.log, re.MULTILINE)


def test_site_with_virtual_mailboxes():
    with running_site(main_cf_with("virtual_transport")) as site:
        maildir = site.mailbox("user@example.org")

        site.deliver(["user+detail@example.org"], b"Subject: x\r\n\r\n")
        site.postfix.set(mynetworks="")  # now we are a stranger
        known = site.postfix.ask("user@example.net"), site.postfix.ask("user@example.org")
        relayed = site.postfix.ask("user@elsewhere.example")

        assert maildirs.only_message(maildir).delivered_to == "user+detail@example.org"
        assert [code for code, _ in known] == [550, 250]
        assert "said: 550 5.1.1 " in known[0][1]
        assert "Relay access denied" in relayed[1]
        assert not warnings(site)


def test_the_other_tests_use_what_readme_tells():
    settings = main_cf_with("virtual_transport")

    assert {name: settings.get(name) for name in MAIN_CF} == MAIN_CF


def test_many_domains_need_no_other_settings():
    many = main_cf_with("virtual_transport", page="docs/many-domains.md")

    assert {**many, "virtual_mailbox_domains": ""} == {
        **main_cf_with("virtual_transport"),
        "virtual_mailbox_domains": "",
    }


def test_site_with_system_users():
    settings = {
        "virtual_mailbox_domains": "",
        **main_cf_with("mailbox_transport", page="docs/system-users.md"),
    }
    with running_site(settings) as site:
        maildir = site.mailbox("mail@example.org")  # a user on every Debian

        queue_id = site.deliver(["mail+detail@example.org"], b"Subject: x\r\n\r\n")
        unknown = site.postfix.ask("nobody-of-that-name@example.org")

        assert "status=sent (250 2.0.0 " in site.postfix.deliveries(queue_id)[0]
        assert maildirs.only_message(maildir).return_path == f"<{SENDER}>"
        assert unknown[0] == 550
        assert not warnings(site)
