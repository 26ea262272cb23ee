import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.quota_limit import LARGEST, UNLIMITED, QuotaLimit, QuotaSyntaxError, Usage, size_text

NUMBERS = st.integers(0, LARGEST)


@pytest.mark.parametrize(
    "text, octets, messages",
    [
        ("0", 0, 0),
        ("1", 1, 0),
        ("10K", 10 * 1024, 0),
        ("10k", 10 * 1024, 0),
        ("500M", 500 * 1024**2, 0),
        ("2G", 2 * 1024**3, 0),
        ("3T", 3 * 1024**4, 0),
        ("2 GB", 2 * 1024**3, 0),
        ("2GiB", 2 * 1024**3, 0),
        ("2G,100000M", 2 * 1024**3, 100_000),
        ("2G, 100000", 2 * 1024**3, 100_000),
        ("0,7M", 0, 7),
        ("100000M", 100_000 * 1024**2, 0),
        ("10000000S,1000C", 10_000_000, 1000),
        ("1000C,10000000S", 10_000_000, 1000),
        ("1000C", 0, 1000),
        ("5S", 5, 0),
        (str(LARGEST), LARGEST, 0),
    ],
)
def test_a_limit_is_read(text, octets, messages):
    assert QuotaLimit.parse(text) == QuotaLimit(octets, messages)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "G",
        "-1",
        "1.5G",
        "2X",
        "2G,",
        ",5",
        "2G,5K",
        "2G,5M,1",
        "5S,5S",
        "5S,7",
        "1G,5C",
        "٣",
        "2 0G",
    ],
)
def test_what_is_no_limit_is_told_with_what_is_allowed(text):
    with pytest.raises(QuotaSyntaxError, match='such as "2G"'):
        QuotaLimit.parse(text)


@pytest.mark.parametrize("text", [str(LARGEST + 1), "8388608T", f"0,{LARGEST + 1}", f"{LARGEST + 1}S"])
def test_a_limit_that_nobody_can_count_to_is_refused(text):
    with pytest.raises(QuotaSyntaxError, match="at most"):
        QuotaLimit.parse(text)


@given(octets=NUMBERS, messages=NUMBERS)
def test_what_is_written_is_read_back(octets, messages):
    limit = QuotaLimit(octets, messages)

    assert QuotaLimit.parse(str(limit)) == limit
    assert QuotaLimit.parse(limit.header()) == limit
    assert QuotaLimit.parse_header(limit.header()) == limit


@pytest.mark.parametrize(
    "limit, text, header",
    [
        (UNLIMITED, "0", "0S"),
        (QuotaLimit(1536, 0), "1536", "1536S"),
        (QuotaLimit(2 << 30, 0), "2G", "2147483648S"),
        (QuotaLimit(1 << 20, 9), "1M,9M", "1048576S,9C"),
        (QuotaLimit(0, 9), "0,9M", "9C"),
    ],
)
def test_a_limit_is_written(limit, text, header):
    assert (str(limit), limit.header()) == (text, header)


@pytest.mark.parametrize(
    "line, limit",
    [
        ("", UNLIMITED),
        ("garbage", UNLIMITED),
        ("10S,what,5C", QuotaLimit(10, 5)),
        ("  10S , 5C", QuotaLimit(10, 5)),
        (f"{10**30}S", QuotaLimit(LARGEST, 0)),
    ],
)
def test_a_header_is_read_as_far_as_it_can_be(line, limit):
    assert QuotaLimit.parse_header(line) == limit


@pytest.mark.parametrize(
    "rule, limit",
    [
        ("*:storage=1G", QuotaLimit(1 << 30, 0)),
        ("*:storage=10", QuotaLimit(10 * 1024, 0)),
        ("*:bytes=10", QuotaLimit(10, 0)),
        ("*:messages=5", QuotaLimit(0, 5)),
        ("?:storage=2M:messages=5", QuotaLimit(2 << 20, 5)),
    ],
)
def test_a_rule_of_dovecot_is_read(rule, limit):
    assert QuotaLimit.parse_rule(rule) == limit


@pytest.mark.parametrize(
    "rule", ["", "*", "Trash:storage=+10%", "Trash:storage=1G", "*:ignore", "*:storage="]
)
def test_another_rule_is_refused(rule):
    with pytest.raises(QuotaSyntaxError, match="a rule for all folders"):
        QuotaLimit.parse_rule(rule)


@pytest.mark.parametrize(
    "limit, usage, allowed",
    [
        (UNLIMITED, Usage(LARGEST, LARGEST), True),
        (QuotaLimit(10, 0), Usage(9, 99), True),
        (QuotaLimit(10, 0), Usage(10, 99), True),
        (QuotaLimit(10, 0), Usage(11, 1), False),
        (QuotaLimit(0, 3), Usage(99, 2), True),
        (QuotaLimit(0, 3), Usage(99, 3), True),
        (QuotaLimit(0, 3), Usage(99, 4), False),
        (QuotaLimit(10, 3), Usage(10, 4), False),
    ],
)
def test_exactly_the_limit_is_allowed_and_one_more_is_not(limit, usage, allowed):
    assert limit.allows(usage) is allowed


def test_the_fuller_of_the_two_says_how_full_it_is():
    assert QuotaLimit(100, 10).share(Usage(50, 9)) == 0.9
    assert QuotaLimit(100, 10).share(Usage(95, 9)) == 0.95
    assert UNLIMITED.share(Usage(95, 9)) == 0.0


def test_only_a_limit_is_true():
    assert QuotaLimit(1, 0)
    assert QuotaLimit(0, 1)
    assert not UNLIMITED


def test_usages_add_up():
    assert Usage(3, 1) + Usage(4, 2) - Usage(2, 1) == Usage(5, 2)


@pytest.mark.parametrize(
    "octets, text",
    [
        (0, "0 octets"),
        (1023, "1023 octets"),
        (1024, "1.0 KiB"),
        (1 << 20, "1.0 MiB"),
        (5 << 40, "5.0 TiB"),
        (5 << 50, "5120.0 TiB"),
    ],
)
def test_a_size_is_written_for_people(octets, text):
    assert size_text(octets) == text
