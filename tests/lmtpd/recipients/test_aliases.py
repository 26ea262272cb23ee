"""Aliases, catch-all and domains that mean another, over the directory."""

from collections.abc import Iterator
from pathlib import Path

from lmtpd.protocol.addresses import Address
from lmtpd.recipients.directory import ALIAS_DEPTH, ALIAS_TARGETS, Directory, Source
from lmtpd.recipients.mailbox import Aliases, Found, Mailbox, Mailboxes, Step, Unavailable, Unknown
from lmtpd.recipients.table import AliasTable
from tests.support.recipients import rules, source

ALICE = Address("alice", "example.org")


def at(local: str, domain: str = "example.org") -> Address:
    return Address(local, domain)


def table(**aliases: tuple[Address, ...]) -> AliasTable:
    return AliasTable({f"{local}@example.org": to for local, to in aliases.items()}, rules(Path("/")))


def directory(*sources: Source, **more: object) -> Directory:
    return Directory(sources, postmaster=at("postmaster"), **more)  # type: ignore[arg-type]  # as the test has it


def user(found: object) -> str:
    assert isinstance(found, Mailbox), found
    return found.address


def test_an_alias_leads_to_the_mailbox(root: Path):
    aliases = directory(table(info=(at("team"),), team=(ALICE,)), source(root))

    assert user(aliases.find(at("info"))) == "alice@example.org"
    assert user(aliases.find(at("INFO+x"))) == "alice@example.org"
    assert user(aliases.find(ALICE)) == "alice@example.org"
    assert isinstance(aliases.find(at("info", "example.net")), Unknown)


def test_an_alias_with_a_detail_goes_before_the_one_without(root: Path):
    aliases = AliasTable({"info+x@example.org": (ALICE,), "info@example.org": (at("b"),)}, rules(root))

    assert aliases.find(at("info+x")) == Aliases((ALICE,))
    assert aliases.find(at("info+y")) == Aliases((at("b"),))


def test_an_alias_to_nobody_is_our_mistake_and_no_bounce(root: Path):
    found = directory(table(info=(at("nobody"),)), source(root)).find(at("info"))

    assert isinstance(found, Unavailable)
    assert "info@example.org stands for nobody@example.org" in found.reason


def test_aliases_in_a_circle_end(root: Path):
    circle = directory(table(a=(at("b"),), b=(at("a"),)), source(root))

    assert isinstance(circle.find(at("a")), Unavailable)


def test_aliases_lead_so_far_and_no_further(root: Path):
    def chain(length: int) -> Directory:
        names = {f"a{n}": (at(f"a{n + 1}") if n + 1 < length else ALICE,) for n in range(length)}
        return directory(table(**names), source(root))

    assert user(chain(ALIAS_DEPTH).find(at("a0"))) == "alice@example.org"
    assert isinstance(chain(ALIAS_DEPTH + 1).find(at("a0")), Unavailable)


def test_an_alias_may_stand_for_several_mailboxes(root: Path):
    (root / "example.org/bob").mkdir()
    several = directory(
        table(all=(at("team"), at("ALICE"), at("bob+x")), team=(ALICE, at("bob"))), source(root)
    )

    found = several.find(at("All"))

    assert isinstance(found, Mailboxes)
    assert found.address == "All@example.org"
    assert {each.address for each in found.mailboxes} == {
        "alice@example.org", "bob@example.org", "bob+x@example.org",
    }  # fmt: skip
    assert {each.alias for each in found.mailboxes} == {"All@example.org"}


def test_one_that_is_nobody_or_uncertain_defers_the_whole_alias(root: Path):
    found = directory(table(all=(ALICE, at("nobody"))), source(root)).find(at("all"))

    assert found == Unavailable(
        f"all@example.org stands for nobody@example.org: no Maildir at {root}/example.org/nobody"
    )


def test_the_targets_of_an_alias_are_limited_in_all(root: Path):
    def several(count: int) -> Directory:
        more = tuple(at(f"u{n}") for n in range(count - 1))
        return directory(table(all=(at("more"),), more=more), source(root, create=True))

    found = several(ALIAS_TARGETS).find(at("all"))
    assert isinstance(found, Mailboxes)
    assert len(found.mailboxes) == ALIAS_TARGETS - 1
    assert isinstance(several(ALIAS_TARGETS + 1).find(at("all")), Unavailable)


def test_an_alias_that_names_itself_means_its_own_mailbox(root: Path):
    assert user(directory(table(alice=(ALICE,)), source(root)).find(ALICE)) == "alice@example.org"


def test_a_source_may_know_alias_and_mailbox_at_once(root: Path):
    found = source(root).find(ALICE)
    assert isinstance(found, Mailbox)
    own: Mailbox = found

    class Both:
        name = "both"
        may_wait = False

        def find(self, address: Address) -> Found:
            return Aliases((ALICE,), own)

        def explain(self, address: Address) -> Iterator[Step]:
            yield Step("both", "")

    assert user(directory(Both()).find(ALICE)) == "alice@example.org"
    assert user(directory(Both()).find(at("other"))) == "alice@example.org"


def test_catch_all_takes_what_nobody_knows(root: Path):
    caught = directory(source(root), catch_all={"example.org": (ALICE,)})

    assert user(caught.find(at("nobody"))) == "alice@example.org"
    assert user(caught.find(at("../x"))) == "alice@example.org"
    assert isinstance(caught.find(at("nobody", "example.net")), Unknown)


def test_catch_all_takes_nothing_that_is_uncertain(root: Path, tmp_path: Path):
    caught = directory(source(tmp_path / "gone"), catch_all={"example.org": (ALICE,)})

    assert isinstance(caught.find(at("nobody")), Unavailable)


def test_catch_all_does_not_hide_an_alias_to_nobody(root: Path):
    caught = directory(table(info=(at("nobody"),)), source(root), catch_all={"example.org": (ALICE,)})

    assert isinstance(caught.find(at("info")), Unavailable)


def test_a_domain_may_mean_another(root: Path):
    same = directory(source(root), same_as={"example.net": "example.org"})

    assert user(same.find(at("alice+x", "example.net"))) == "alice+x@example.org"
    assert isinstance(same.find(at("bob", "example.net")), Unknown)


def test_explain_follows_aliases(root: Path):
    aliases = directory(
        table(info=(ALICE,)), source(root), same_as={"example.net": "example.org"},
        catch_all={"example.org": (at("info"),)},
    )  # fmt: skip

    steps = [f"{step.question}: {step.answer}" for step in aliases.explain(at("nobody", "example.net"))]

    assert steps[0] == "domain: stands for nobody@example.org"
    assert "catch-all: info@example.org" in steps
    assert "alias: info@example.org -> alice@example.org" in steps
    assert steps[-1] == "on disk: a directory"
