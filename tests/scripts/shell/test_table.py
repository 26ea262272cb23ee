import pytest

from scripts.shell.table import columns, octets_text


@pytest.mark.parametrize(
    "octets, text",
    [(0, "0 octets"), (999, "999 octets"), (1000, "1.0 KB"), (99_949, "99.9 KB"), (99_950, "100 KB"),
     (999_499, "999 KB"), (999_500, "1.0 MB"), (2_000_000_000, "2.0 GB"), (10**18, "1000 PB")],
)  # fmt: skip
def test_sizes(octets, text):
    assert octets_text(octets) == text


def test_columns_line_up():
    assert columns(("name", "n", ""), [("a", "1", "##"), ("longer", "100", "#")]) == (
        "name      n\na         1  ##\nlonger  100  #"
    )
