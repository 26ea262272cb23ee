"""Who wants which events."""

import pytest

from lmtpd.events.wishes import Wish, wanted


@pytest.mark.parametrize(
    "kind, recipient, fits",
    [
        ("delivered", "A@Example.org", True),
        ("delivered", "c@example.net", True),
        ("delivered", "b@elsewhere.net", False),
        ("delivered", "one@ELSEWHERE.net", True),
        ("delivered", "", False),
        ("refused", "a@example.org", False),
    ],
)
def test_a_wish_names_kinds_domains_and_recipients(kind: str, recipient: str, fits: bool):
    wish = Wish.of(["delivered"], ["example.org", "example.net"], ["One@elsewhere.net"])

    assert wish.fits(kind, recipient) is fits
    assert wanted([Wish.of(["quota"]), wish], kind, recipient) is fits


def test_without_names_everybody_is_meant():
    assert Wish.of(["quota"]).fits("quota", "anybody@anywhere.example")
