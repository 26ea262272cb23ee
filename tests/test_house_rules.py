"""The rules of the house that a program can check."""

import ast
from collections.abc import Iterator

import pytest

from tests.support.sources import EVERYTHING, PRODUCT, Source, sources

FILE_LINES = 300
FUNCTION_LINES = 40
EXCUSE = "Long because"

# What makes a message durable or visible is done in one module, the seam for crash tests; databases have
# files of their own. The second set makes sense elsewhere too, but not in the packages that deliver.
DEEDS = {"rename", "renames", "replace", "link", "symlink", "fsync", "fdatasync", "sync"}
MAY_DO_THEM = {"storage/disk.py", "storage/database.py"}
DELIVERY_DEEDS = {
    "open",
    "write",
    "pwrite",
    "sendfile",
    "copy_file_range",
    "unlink",
    "remove",
    "mkdir",
    "makedirs",
}

EMPTY_NAMES = {"utils", "util", "helpers", "helper", "common", "manager", "misc", "tools"}


def functions(source: Source) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(source.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def calls_of_os(source: Source, names: set[str]) -> Iterator[str]:
    for node in ast.walk(source.tree):
        if (
            isinstance(node, ast.Attribute)
            and isinstance(node.value, ast.Name)
            and node.value.id == "os"
            and node.attr in names
        ):
            yield f"{source.name}:{node.lineno} os.{node.attr}"


@pytest.mark.parametrize("folder", EVERYTHING)
def test_long_files_say_why(folder):
    long = [
        f"{source.name}: {lines} lines"
        for source in sources(folder)
        if (lines := source.text.count("\n")) > FILE_LINES and EXCUSE not in source.text.split("\n", 1)[0]
    ]

    assert not long, f'split them, or begin with "# {EXCUSE} ..."'


@pytest.mark.parametrize("folder", EVERYTHING)
def test_long_functions_say_why(folder):
    long = [
        f"{source.name}:{node.lineno} {node.name}: {lines} lines"
        for source in sources(folder)
        for node in functions(source)
        if (lines := (node.end_lineno or node.lineno) - node.lineno + 1) > FUNCTION_LINES
        and EXCUSE not in "\n".join(source.text.split("\n")[node.lineno - 1 : node.body[0].lineno])
    ]

    assert not long, f'split them, or say "{EXCUSE} ..." on the first line'


def test_only_the_disk_makes_things_durable_or_visible():
    found = [
        call
        for source in sources(*PRODUCT)
        if source.name not in MAY_DO_THEM
        for call in calls_of_os(source, DEEDS)
    ]

    assert not found


@pytest.mark.parametrize("folder", ["lmtpd/delivery", "lmtpd/recipients", "lmtpd/protocol"])
def test_deliveries_touch_files_through_the_disk_only(folder):
    found = [call for source in sources(folder) for call in calls_of_os(source, DELIVERY_DEEDS)]

    assert not found


def test_importing_does_nothing():
    found = [
        f"{source.name}:{node.lineno}"
        for source in sources(*PRODUCT)
        for node in source.tree.body
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)
    ]

    assert not found, "a call on the module's top level is an import side effect"


def test_names_of_modules_say_what_they_hold():
    found = [source.name for source in sources(*EVERYTHING) if source.path.stem in EMPTY_NAMES]

    assert not found
