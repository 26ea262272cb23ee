import calendar
import os

import pytest

from storage.findings import Looked
from storage.statistics import AGE_NAMES, LARGEST, SENDERS, Amount, Calendar, Statistics, collect, forget_rare
from tests.support.scripting import new_maildir, opened

NOW = calendar.timegm((2026, 11, 24, 12, 0, 0))
DAY = 86_400


@pytest.fixture
def maildir(tmp_path):
    return new_maildir(tmp_path / "bob")


def figures(maildir, *, senders=False):
    *looked, statistics = collect(opened(maildir), Calendar(NOW), senders=senders)
    assert isinstance(statistics, Statistics)
    assert sum(each.messages for each in looked if isinstance(each, Looked)) == statistics.total.messages
    return statistics


def put(maildir, at, octets=10, flags=":2,S", part="cur", count=0):
    # The name tells when it came into the folder: today, as after an import.
    path = maildir / part / f"{NOW}.M{count}P{at}.host,S={octets},W={octets}{flags}"
    path.touch()
    os.utime(path, (at, at))


def test_an_empty_folder(maildir):
    statistics = figures(maildir)

    assert (statistics.total, statistics.months, statistics.newest) == (Amount(), {}, None)


def test_sizes_come_from_the_names_and_dates_from_the_files(maildir):
    put(maildir, NOW - DAY, 100)
    put(maildir, NOW - 40 * DAY, 200, ":2,")
    put(maildir, NOW - 2 * DAY, 300, "", "new")

    statistics = figures(maildir)

    assert statistics.total == Amount(3, 600)
    assert statistics.unread == 2
    assert statistics.months == {"2026-10": Amount(1, 200), "2026-11": Amount(2, 400)}
    assert statistics.largest[0][0] == 100
    assert max(statistics.largest)[1].startswith("new/")


def test_a_size_that_no_name_tells_is_the_file_s(maildir):
    for name in ("x:2,S", f"{NOW}.x:2,", "123456789.x,XS=999:2,S", f"{NOW}.x,S=9k:2,S"):
        path = maildir / "cur" / name
        path.write_bytes(b"12345")
        os.utime(path, (NOW - 400 * DAY,) * 2)
    (maildir / "cur/.hidden").touch()
    (maildir / "cur/folder").mkdir()

    statistics = figures(maildir)

    assert statistics.total == Amount(4, 20)
    assert list(statistics.months) == ["2025-10"]
    assert statistics.unread == 1


@pytest.mark.parametrize(
    "days, age",
    [(0, "week"), (6, "week"), (7, "month"), (29, "month"), (30, "quarter"), (364, "year"), (365, "3 years"),
     (1094, "3 years"), (1095, "older")],
)  # fmt: skip
def test_ages(maildir, days, age):
    put(maildir, NOW - days * DAY)

    ages = figures(maildir).ages

    assert [name for name, amount in zip(AGE_NAMES, ages, strict=True) if amount.messages] == [age]


@pytest.mark.parametrize("at, month", [
    ((2024, 2, 29, 23, 59, 59), "2024-02"), ((2024, 3, 1, 0, 0, 0), "2024-03"),
    ((2025, 12, 31, 23, 0, 0), "2025-12"),
    ((2026, 1, 1, 0, 0, 0), "2026-01"), ((1996, 2, 29, 0, 0, 0), "1996-02"),
])  # fmt: skip
def test_months_are_those_of_the_calendar(at, month):
    assert Calendar(NOW).name(calendar.timegm(at)) == month


@pytest.mark.parametrize("count", [LARGEST - 1, LARGEST, LARGEST + 1])
def test_the_largest_are_kept(maildir, count):
    for number in range(count):
        put(maildir, NOW, 1000 + number, count=number)

    largest = sorted(figures(maildir).largest, reverse=True)

    assert [octets for octets, _ in largest] == [999 + count - n for n in range(min(count, LARGEST))]


def test_senders_are_read_on_demand(maildir):
    path = maildir / f"cur/{NOW}.x,S=50:2,S"
    path.write_bytes(b"From: Bob <Bob@Example.org>\n\nFrom: else@example.org\n")
    (maildir / f"cur/{NOW}.y,S=5:2,S").write_bytes(b"From: bob@example.org\n\n")

    assert figures(maildir).senders == {}
    assert figures(maildir, senders=True).senders == {"bob@example.org": Amount(2, 55)}


@pytest.mark.parametrize("count, left", [(2 * SENDERS, 2 * SENDERS), (2 * SENDERS + 1, SENDERS)])
def test_of_too_many_senders_the_rare_are_forgotten(count, left):
    senders = {str(number): Amount(1, number) for number in range(count)}

    forget_rare(senders)

    assert len(senders) == left
    assert str(count - 1) in senders


def test_figures_add_up(maildir, tmp_path):
    put(maildir, NOW - DAY, 100)
    other = new_maildir(tmp_path / "eve")
    put(other, NOW - 40 * DAY, 200, ":2,")
    sum_of = Statistics()

    for path in (maildir, other):
        sum_of.add(figures(path), prefix=f"{path.name}: ")

    assert sum_of.total == Amount(2, 300)
    assert (sum_of.unread, sum_of.months) == (1, {"2026-10": Amount(1, 200), "2026-11": Amount(1, 100)})
    assert (sum_of.oldest, sum_of.newest) == (figures(other).oldest, figures(maildir).newest)
    assert max(sum_of.largest)[1].startswith("eve: cur/")
