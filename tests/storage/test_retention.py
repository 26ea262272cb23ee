"""Rules of retention."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.messages import MessageFile
from storage.retention import Kept, Rule, arrival, rule_for

NOW = 1_800_000_000


def kept(*arrived_and_octets: tuple[int, int]) -> list[Kept]:
    return [
        Kept(MessageFile("cur", f"{number:03}.x:2,"), octets, arrived)
        for number, (arrived, octets) in enumerate(arrived_and_octets)
    ]


def going(rule: str, *arrived_and_octets: tuple[int, int]) -> list[str]:
    chosen = Rule.parse(rule).expired(kept(*arrived_and_octets), NOW)
    return [each.message.base for each, _ in chosen]


@pytest.mark.parametrize(
    "limit, seconds",
    [("0h", 0), ("12h", 43_200), ("30d", 2_592_000), ("8w", 4_838_400), ("2y", 63_072_000)],
)
def test_age_at_the_limit(limit, seconds):
    found = going(f"F={limit}", (NOW - seconds, 1), (NOW - seconds - 1, 1), (NOW - seconds + 1, 1))

    assert found == ["001.x"]


@pytest.mark.parametrize("limit, left", [("0", 0), ("2", 2), ("3", 3), ("4", 3)])
def test_number_at_the_limit(limit, left):
    found = going(f"F={limit}", (NOW - 3, 1), (NOW - 1, 1), (NOW - 2, 1))

    assert found == ["000.x", "002.x", "001.x"][: 3 - left]


@pytest.mark.parametrize("octets, expected", [(1023, []), (1024, []), (1025, ["000.x"])])
def test_size_at_the_limit(octets, expected):
    assert going("F=2K", (NOW - 2, octets), (NOW - 1, 1024)) == expected


def test_size_behind_a_message_that_is_too_large():
    # What is older than the one that was too much goes as well, however small it is.
    assert going("F=1K", (NOW - 3, 1), (NOW - 2, 5000), (NOW - 1, 1)) == ["000.x", "001.x"]


def test_of_one_second_the_older_goes():
    # The microseconds are no decimal fraction: Dovecot writes them without leading zeros.
    names = [
        "1800000000.M5P1.host",
        "1800000000.M40P1.host",
        "1800000000.M000100P1.host",
        "1800000000.V1I2M300P1",
    ]
    everything = [Kept(MessageFile("new", name), 1, NOW) for name in names]

    chosen = Rule.parse("F=1").expired(reversed(everything), NOW)

    assert [each.message.name for each, _ in chosen] == names[:3]


def test_reasons_are_said():
    rule = Rule.parse("F=30d,1K,1")
    found = rule.expired(kept((0, 1), (NOW - 2, 1), (NOW - 1, 1)), NOW)

    assert [why for _, why in found] == ["it came more than 30d ago", "there is 1 newer"]
    (large,) = Rule.parse("F=1K").expired(kept((NOW, 2000)), NOW)
    assert large[1] == "it and the newer ones have more than 1K"


@given(
    messages=st.lists(st.tuples(st.integers(NOW - 90 * 86400, NOW), st.integers(0, 5000))),
    count=st.integers(0, 9),
)
def test_what_stays_is_newer_than_what_goes(messages, count):
    everything = kept(*messages)
    gone = [each for each, _ in Rule.parse(f"F=30d,4K,{count}").expired(everything, NOW)]
    stays = [each for each in everything if each not in gone]

    assert len(stays) <= count
    assert sum(each.octets for each in stays) <= 4096
    assert max([each.arrived_s for each in gone], default=0) <= min(
        [each.arrived_s for each in stays], default=NOW
    )
    assert [each.arrived_s for each in gone] == sorted(each.arrived_s for each in gone)


@pytest.mark.parametrize(
    "pattern, folder, means",
    [
        ("Trash", "Trash", True),
        ("Trash", "Trash/Old", False),
        ("Lists/*", "Lists/a/b", True),
        ("Lists/*", "Lists", False),
        ("*", "INBOX", False),
        ("INBOX", "INBOX", True),
        ("inbox", "INBOX", True),
        ("trash", "Trash", False),
        ("a=b", "a=b", True),
        ("[ab]", "a", True),
    ],
)
def test_folders(pattern, folder, means):
    assert Rule.parse(f"{pattern}=1d").means(folder) is means


def test_the_first_rule_counts():
    rules = [Rule.parse("Lists/a=1d"), Rule.parse("Lists/*=2d"), Rule.parse("Lists/b=3d")]

    assert [rule_for(rules, f"Lists/{name}") for name in "ab"] == rules[:2]
    assert rule_for(rules, "Other") is None


@pytest.mark.parametrize(
    "text", ["", "F", "=1d", "F=", "F=1", "F=1x", "F=-1d", "F=1d,2d", "F=1M,2G", "F=1d,", "F=1.5d"]
)
def test_what_is_no_rule_is_refused(text):
    if text == "F=1":
        assert Rule.parse(text).messages == 1
        return
    with pytest.raises(ValueError, match="write FOLDER=LIMIT"):
        Rule.parse(text)


@pytest.mark.parametrize(
    "name, arrived_s",
    [
        (f"{NOW - 5}.x", NOW - 5),
        (f"{NOW + 86_399}.x", NOW + 86_399),
        (f"{NOW + 86_400}.x", None),
        ("100000000.x", None),
        ("100000001.x", 100000001),
        ("x", None),
    ],
)
def test_arrival_is_in_the_name(name, arrived_s):
    assert arrival(MessageFile("cur", name), NOW) == arrived_s
