"""The arrows between the packages point down only: read with `ast`, nothing is imported here."""

import sys

import pytest

from tests.support.sources import PRODUCT, Import, Source, is_within, sources

# cli > server > delivery > recipients, sieve > protocol; delivery, recipients, report, scripts > storage.
# What a package may import of our own, itself apart. The composition root (cli) may import everything.
# Of storage the server itself uses what is not mail: its state's lock, its directories, the eye on its file,
# and whose rights it may take.
MAY_IMPORT = {
    "lmtpd.server": {
        *("lmtpd.delivery", "lmtpd.recipients", "lmtpd.protocol", "lmtpd.report", "lmtpd.config"),
        *("storage.server_lock", "storage.watch", "storage.directory", "storage.disk"),
        "storage.thread_rights",
    },
    "lmtpd.events": {"lmtpd.report", "storage"},
    "lmtpd.delivery": {
        "lmtpd.events.document",
        "lmtpd.events.wishes",
        *("lmtpd.recipients", "lmtpd.sieve", "lmtpd.protocol", "lmtpd.report", "storage"),
    },
    "lmtpd.recipients": {"lmtpd.protocol", "storage"},
    "lmtpd.sieve": {"lmtpd.protocol"},
    "lmtpd.report": {"storage"},
    "lmtpd.web": {"lmtpd.report.formats", "storage.reading"},
    "lmtpd.config": {"storage.quota_limit", "lmtpd.recipients.query"},  # values, parsed
    "lmtpd.protocol": set(),
    # Which mailboxes there are is the configuration's to say, and the recipient sources', put together there.
    "scripts.shell": {
        *("lmtpd.cli.options", "lmtpd.cli.directory", "lmtpd.cli.addresses", "lmtpd.cli.failures"),
        "lmtpd.cli.counting",
        *("lmtpd.__main__", "lmtpd.config", "lmtpd.recipients", "storage"),
    },
    # A message from a pipe is read as `lmtpd deliver` reads it.
    "scripts.lmtp": {"lmtpd.cli.stdin", "scripts.shell"},
    "scripts": {"storage"},
    "storage": set(),
}
COMPOSITION_ROOT = ("lmtpd.cli", "lmtpd.__main__")
# The scripts choose their mailboxes, and end, as the server's commands do.
MAY_IMPORT_THE_ROOT = (*COMPOSITION_ROOT, "scripts.shell", "scripts.lmtp")

# What pure packages may use of the standard library: nothing that opens, waits, asks the clock or logs.
PURE = ("lmtpd.protocol", "lmtpd.sieve")
PURE_LIBRARY = {
    *(
        "__future__",
        "abc",
        "base64",
        "binascii",
        "bisect",
        "codecs",
        "collections",
        "dataclasses",
        "encodings",
    ),
    *("enum", "functools", "hashlib", "heapq", "ipaddress", "itertools", "math", "operator", "re", "string"),
    *("stringprep", "struct", "types", "typing", "unicodedata"),
}

# Each of these is one module's business, so that it can be understood and replaced in one place.
ONLY_IN = {
    "psycopg": {"lmtpd/recipients/postgresql.py"},
    "ldap3": {"lmtpd/recipients/ldap.py"},
    "datasette": {"lmtpd/web/application.py", "lmtpd/web/database.py"},
    "sqlite_utils": {"storage/database.py"},
    "watchdog": {"storage/watch.py"},
}

OWN = tuple(sources(*PRODUCT))


def package_of(module: str) -> str | None:
    """Return the package of the table that a module belongs to."""
    return next((package for package in MAY_IMPORT if is_within(module, package)), None)


def is_ours(name: str) -> bool:
    return name.split(".", maxsplit=1)[0] in (*PRODUCT, "tests", "dev")


def places(found: list[tuple[Source, Import]]) -> list[str]:
    return [f"{source.name}:{entry.line} imports {entry.name}" for source, entry in found]


def test_every_product_module_has_its_place_in_the_table():
    known = (*MAY_IMPORT, *COMPOSITION_ROOT)

    homeless = [
        source.name
        for source in OWN
        if source.module != "lmtpd" and not any(is_within(source.module, package) for package in known)
    ]

    assert not homeless


def test_arrows_point_down_only():
    found = [
        (source, entry)
        for source in OWN
        if (package := package_of(source.module)) is not None
        for entry in source.imports()
        if is_ours(entry.name) and entry.name not in PRODUCT
        if not any(is_within(entry.name, allowed) for allowed in (package, *MAY_IMPORT[package]))
    ]

    assert not places(found)


def test_nobody_imports_the_composition_root():
    found = [
        (source, entry)
        for source in OWN
        if not any(is_within(source.module, root) for root in MAY_IMPORT_THE_ROOT)
        for entry in source.imports()
        if any(is_within(entry.name, root) for root in COMPOSITION_ROOT)
    ]

    assert not places(found)


def test_storage_does_not_know_the_protocol():
    found = [
        (source, entry)
        for source in sources("storage")
        for entry in source.imports()
        if entry.name.split(".")[0] in ("lmtpd", "scripts")
    ]

    assert not places(found)


@pytest.mark.parametrize("package", PURE)
def test_pure_packages_do_nothing_but_compute(package):
    found = [
        (source, entry)
        for source in OWN
        if is_within(source.module, package)
        for entry in source.imports()
        if not is_ours(entry.name) and entry.name.split(".")[0] not in PURE_LIBRARY
    ]

    assert not places(found)


@pytest.mark.parametrize("library", ONLY_IN)
def test_library_is_used_in_one_place_only(library):
    found = [
        (source, entry)
        for source in OWN
        if source.name not in ONLY_IN[library]
        for entry in source.imports()
        if is_within(entry.name, library)
    ]

    assert not places(found)


def test_storage_and_recipients_use_declared_libraries_only():
    declared = {"sqlite_utils", "watchdog", "click", "rich", "pydantic", "pydantic_core", "prometheus_client"}
    declared |= {"psycopg", "ldap3", "datasette", "uvicorn"}

    found = [
        (source, entry)
        for source in OWN
        for entry in source.imports()
        if (top := entry.name.split(".")[0]) not in sys.stdlib_module_names
        if not is_ours(entry.name) and top not in declared
    ]

    assert not places(found)


def test_imports_stand_at_the_top():
    # A command is loaded when it is called, so that `lmtpd --help` and shell completion are quick.
    found = [
        (source, entry)
        for source in OWN
        if not is_within(source.module, "lmtpd.cli")
        for entry in source.imports()
        if entry.inside_function
    ]

    assert not places(found)


def test_no_cycles():
    modules = {source.module for source in OWN}
    needs = {
        source.module: {
            entry.name
            for entry in source.imports()
            if entry.name in modules and entry.name != source.module and not entry.inside_function
        }
        for source in OWN
    }

    # A module that needs nothing that is left can be read now; what is never readable lies on a cycle.
    unread = dict(needs)
    while readable := [module for module, needed in unread.items() if not needed & unread.keys()]:
        for module in readable:
            del unread[module]

    assert not unread
