"""Lines of TOML keys."""

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmtpd.config.places import key_lines


@pytest.mark.parametrize(
    "text, expected",
    [
        ("", {}),
        ("# only a comment", {}),
        ("a = 1", {("a",): 1}),
        ("\n\r\n  a = 1 # b = 2\nc=3", {("a",): 3, ("c",): 4}),
        ("a.b . c = 1", {("a",): 1, ("a", "b"): 1, ("a", "b", "c"): 1}),
        (
            "[t]\na = 1\n[ u . v ]\nb = 2",
            {("t",): 1, ("t", "a"): 2, ("u",): 3, ("u", "v"): 3, ("u", "v", "b"): 4},
        ),
        (
            "[[l]]\na = 1\n\n[[l]]\na = 2\n[l.s]\nb = 1",
            {
                ("l",): 1,
                ("l", 0): 1,
                ("l", 0, "a"): 2,
                ("l", 1): 4,
                ("l", 1, "a"): 5,
                ("l", 1, "s"): 6,
                ("l", 1, "s", "b"): 7,
            },
        ),
        (
            "[[l]]\n[[l.m]]\nx = 1\n[[l.m]]\ny = 1",
            {
                ("l",): 1,
                ("l", 0): 1,
                ("l", 0, "m"): 2,
                ("l", 0, "m", 0): 2,
                ("l", 0, "m", 0, "x"): 3,
                ("l", 0, "m", 1): 4,
                ("l", 0, "m", 1, "y"): 5,
            },
        ),
        ('a = """\nb = 1\n"""\nc = 2', {("a",): 1, ("c",): 4}),
        ('a = """x\\"""\nb = 1"""\nc = 2', {("a",): 1, ("c",): 3}),
        ('a = """x"""""\nc = 2', {("a",): 1, ("c",): 2}),
        ("a = '''\nb = 1\n[t]'''\nc = 2", {("a",): 1, ("c",): 4}),
        ("a = [\n  1, # ]\n  2,\n]\nc = 2", {("a",): 1, ("c",): 5}),
        ("a = [[1], [\n[]]]\nc = 2", {("a",): 1, ("c",): 3}),
        ("a = {b = 1, c = '}'}\nd = 2", {("a",): 1, ("d",): 2}),
        ('a = \'# [\'\nb = "\\"[#"\nc = 3', {("a",): 1, ("b",): 2, ("c",): 3}),
        ('"a.b" = 1\n\'c d\' = 2\n"\\u0065\\n" = 3', {("a.b",): 1, ("c d",): 2, ("e\n",): 3}),
        ('"\\U0001F600\\"" = 1', {('\U0001f600"',): 1}),
        ("a = 1\r\nb = 2\r\n", {("a",): 1, ("b",): 2}),
        ("a = 2026-11-24 10:00:00 # x\nb = 1e3", {("a",): 1, ("b",): 2}),
    ],
)
def test_lines_of_keys(text, expected):
    tomllib.loads(text)  # or the test proves nothing

    assert key_lines(text) == expected


VALUES = st.sampled_from(
    [
        "1",
        "true",
        '"#"',
        "'['",
        '"""\n]\nk = 1\n"""',
        "'''\n'\n'''",
        "[\n1, [2], # ]\n]",
        "{x = 1, y = '}'}",
        '"\\""',
    ]
)


@given(
    values=st.lists(VALUES, max_size=8),
    gaps=st.lists(st.sampled_from(["", "# [c]\n", "\n\n", "[t]\n"]), min_size=8),
)
def test_line_of_each_key_whatever_stands_around_it(values, gaps):
    lines = {}
    text = ""
    table = ""
    for index, (value, gap) in enumerate(zip(values, gaps, strict=False)):
        if gap == "[t]\n":
            table = f"t{index}"
            gap = f"[{table}]\n"
        text += gap
        lines[(table, f"k{index}") if table else (f"k{index}",)] = text.count("\n") + 1
        text += f"k{index} = {value}\n"
    tomllib.loads(text)

    found = key_lines(text)

    assert {path: line for path, line in found.items() if str(path[-1]).startswith("k")} == lines
