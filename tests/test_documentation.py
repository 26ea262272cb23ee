"""The documentation: it can be built, holds the whole reference, and what it tells to type works.

The pages are built once, as `make docs` does it, and read as a browser would.
"""

import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag

import click
import pytest

from lmtpd.cli.manual import with_subcommands
from lmtpd.cli.reference import replies, settings
from lmtpd.report.metrics import METRICS
from lmtpd.report.vocabulary import EVENTS, FIELDS, OUTCOMES
from storage.history_rows import COLUMNS
from tests.support.configs import from_text
from tests.support.requirements import ROOT

pytestmark = pytest.mark.xdist_group("documentation")

COMMANDS = dict(with_subcommands())
SOURCES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
TOML = re.compile(r"^```toml\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SHELL = re.compile(r"^ *```(?:console|sh)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)


class Page(HTMLParser):
    """What a browser would make of a page: where one can point at, and what it points at."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.fetched: list[str] = []
        self.text = path.read_text()
        self.feed(self.text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "id" and value:
                self.anchors.add(value)
            elif tag == "a" and name == "href" and value:
                self.links.append(value)
            elif name in ("href", "src", "srcset") and value:
                self.fetched.append(value)


def build(place: Path, *, source: Path = ROOT) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(place)]
    return subprocess.run(command, cwd=source, capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Page]:
    place = tmp_path_factory.mktemp("documentation") / "site"
    built = build(place)
    assert built.returncode == 0, built.stderr
    return {str(path.relative_to(place)): Page(path) for path in place.rglob("*.html")}


def test_every_setting_is_in_the_reference(site):
    wanted = {setting.key for table in settings.tables() for setting in table.settings}

    assert wanted <= site["reference/settings.html"].anchors


def test_every_reply_is_in_the_reference(site):
    page = site["reference/replies.html"]

    assert {each.name.lower() for each in replies.described()} <= page.anchors
    assert all(f"{each.reply.code} {each.reply.status}".strip() in page.text for each in replies.described())


def test_every_word_of_the_log_is_in_the_reference(site):
    fields = {f"field-{field.name}" for field in FIELDS}

    assert fields | {f"event-{name}" for name in EVENTS} | set(OUTCOMES) <= site["reference/log.html"].anchors


def test_every_metric_is_in_the_reference(site):
    page = site["reference/metrics.html"]

    assert {metric.exported for metric in METRICS} <= page.anchors
    assert all(f"<td>{metric.help}</td>" in page.text for metric in METRICS)


@pytest.mark.parametrize("name", [*COMMANDS])
def test_every_command_is_in_the_reference_with_its_options(site, name):
    identifier = name.replace(" ", "-")
    options = [each for each in COMMANDS[name].params if isinstance(each, click.Option) and not each.hidden]
    anchors = site["reference/commands.html"].anchors

    assert identifier in anchors
    assert {f"{identifier}{option.opts[-1]}" for option in options} <= anchors


def test_every_column_of_the_history_is_told(site):
    chapter = (ROOT / "docs/trace.md").read_text()
    table = chapter.partition("| column | meaning |")[2].partition("\n\n")[0]
    columns = [name for line in table.splitlines() for name in re.findall(r"`(\w+)`", line.split(" | ")[0])]

    assert columns == ["id", "at", *sorted(COLUMNS[1:], key=columns.index)]


def test_links_lead_to_what_is_there(site):
    assert not list(broken_links(site))


def broken_links(site: dict[str, Page]) -> Iterator[str]:
    for name, page in site.items():
        for link in page.links:
            if name == "404.html" or re.match(r"(https?|mailto):|#$", link):
                continue
            path, anchor = urldefrag(link)
            target = str((Path("/") / name).parent.joinpath(unquote(path)).resolve())[1:] if path else name
            known = site.get(target)
            if known is None or (anchor and unquote(anchor) not in known.anchors):
                yield f"{name}: {link}"


def test_links_of_readme_lead_to_what_is_there(site):
    text = (ROOT / "README.md").read_text()
    own = {slug(title) for title in re.findall(r"^#+ (.*)$", text, re.MULTILINE)}
    wrong = []
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        path, anchor = urldefrag(link)
        page = site.get(path.removeprefix("docs/").removesuffix(".md") + ".html")
        is_there = not path or path.startswith("http") or (ROOT / path).exists()
        if not is_there or (anchor and anchor not in (page.anchors if page else own)):
            wrong.append(link)

    assert not wrong


def slug(title: str) -> str:
    return re.sub(r"\s", "-", re.sub(r"[^\w\s-]", "", title.lower()))


def test_nothing_is_fetched_from_elsewhere(site, tmp_path):
    assert not [each for page in site.values() for each in page.fetched if re.match(r"(\w+:)?//", each)]


def test_a_broken_anchor_fails_the_build(tmp_path):
    for name in ("mkdocs.yml", "docs", ".ci"):
        given = ROOT / name
        copy = shutil.copytree if given.is_dir() else shutil.copyfile
        copy(given, tmp_path / name)
    with (tmp_path / "docs/index.md").open("a") as file:
        file.write("\n[wrong](start.md#no-such-chapter)\n")

    built = build(tmp_path / "site", source=tmp_path)

    assert built.returncode != 0
    assert "no-such-chapter" in built.stderr


def toml_blocks() -> Iterator[tuple[str, str]]:
    for path in SOURCES:
        for number, block in enumerate(TOML.findall(path.read_text())):
            yield f"{path.name}-{number}", block


# A block that begins with an address is a file of users.
@pytest.mark.parametrize(
    "place, block",
    [each for each in toml_blocks() if not each[1].startswith('["')],
    ids=lambda each: each[:24],
)
def test_configurations_can_be_loaded(tmp_path, place, block):
    # Users that this machine may not have.
    from_text(
        tmp_path,
        re.sub(r'^(owner|group|run_as) = "(vmail|postfix)"', r'\1 = "mail"', block, flags=re.MULTILINE),
    )


def test_there_is_an_example_for_every_source():
    text = (ROOT / "docs/recipients.md").read_text()
    shown = {
        table["source"]
        for block in TOML.findall(text)
        for table in tomllib.loads(block).get("recipients", [])
    }

    assert shown == {"maildirs", "passwd", "file", "sql", "ldap", "postfix", "socketmap"}


def shell_lines() -> Iterator[tuple[str, str]]:
    for path in SOURCES:
        for block in SHELL.findall(path.read_text()):
            for line in re.findall(r"^ *[#$] (.*)$", block, re.MULTILINE):
                yield path.name, line


def commands_in(line: str) -> Iterator[list[str]]:
    """Split a line at its pipes and such; yield the words of each command of ours."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|;&<>")
    lexer.whitespace_split = True
    words: list[str] = []
    for word in [*lexer, "|"]:
        if set(word) <= set("|;&<>"):
            yield from of_ours(words)
            words = []
        else:
            words.append(word)


def of_ours(words: list[str]) -> Iterator[list[str]]:
    places = [
        index
        for index, word in enumerate(words)
        if Path(word).name in COMMANDS and not {"*", ":"} & set(word)
    ]
    if places and not words[0].startswith("ln"):
        yield [Path(words[places[-1]]).name, *words[places[-1] + 1 :]]


def unknown_options(words: list[str]) -> list[str]:
    name = " ".join(words[:2]) if " ".join(words[:2]) in COMMANDS else words[0]
    known = {option for each in COMMANDS[name].params for option in (*each.opts, *each.secondary_opts)}
    given = {word.partition("=")[0] for word in words[1:] if word.startswith("--")}
    return sorted(given - known - {"--help", "--version"})


@pytest.mark.parametrize("place, line", [*shell_lines()], ids=lambda each: each[:40])
def test_options_that_are_told_exist(place, line):
    wrong = {words[0]: unknown for words in commands_in(line) if (unknown := unknown_options(words))}

    assert not wrong, place


def test_options_are_looked_for_in_the_command_that_has_them():
    (words,) = commands_in("printf x | lmtpd explain a@example.org --no-such --config /etc/lmtpd.toml")

    assert unknown_options(words) == ["--no-such"]


def test_commands_of_lmtpd_that_are_told_exist():
    text = "\n".join(path.read_text() for path in SOURCES)
    told = set(re.findall(r"(?:^ *[#$] |`)lmtpd ([a-z]+)\b", text, re.MULTILINE))

    assert {f"lmtpd {name}" for name in told} <= set(COMMANDS)
