"""A client leaves: in each way, on each transport, with and without QUIT, at each phase, under each policy.

The cells, and the table that they are held against, are in tests/support/late_aborts.py. What is stored is
judged by the crash tests' oracle, once the client has sent the message again.
"""

import re
import ssl
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import trustme

from tests.crash.account import Account
from tests.crash.books import check_ledger
from tests.crash.client import Client, settle
from tests.crash.mounts import roomy_folder
from tests.crash.oracle import Mailboxes, check
from tests.crash.shim import Shim
from tests.support.late_aborts import POLICIES, TABLE, Cell, Fate, Leave, Phase, Scene, cells
from tests.support.requirements import ROOT
from tests.support.server import Server

pytestmark = [pytest.mark.system, pytest.mark.xdist_group("late aborts")]


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@contextmanager
def serving(policy: str, authority: trustme.CA, program: Sequence[str] = ("lmtpd",)) -> Iterator[Scene]:
    """Run a server with that policy; at its end its ledger is held against all that was sent."""
    trust = ssl.create_default_context()
    authority.configure_trust(trust)
    with tempfile.TemporaryDirectory(prefix="lmtpd-aborts-", dir=roomy_folder()) as name, Shim() as shim:
        folder = Path(name)
        authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(
            str(folder / "tls.pem")
        )
        keys = {"delivery.commit": policy, "tls.cert": folder / "tls.pem", "tls.key": folder / "tls.pem"}
        flags = [
            "--workers",
            "1",
            *(word for key in keys.items() for word in ("--set", "=".join(map(str, key)))),
        ]
        shim.watch(folder / "mail")
        with Server(
            folder, listen=["unix", "tcp"], flags=flags, environment=shim.environment, program=program
        ) as server:
            scene = Scene(server, shim, trust)
            yield scene
        everything = Account()
        everything.sent = [sent for account in scene.accounts for sent in account.sent]
        ledger = check_ledger(server.state / "ledger.db")
        assert check(everything, Mailboxes(root=server.mail), settled=True, ledger=ledger) == []


@pytest.fixture(scope="module")
def scenes(authority: trustme.CA) -> Iterator[dict[str, Scene]]:
    with ExitStack() as stack:
        yield {policy: stack.enter_context(serving(policy, authority)) for policy in POLICIES}


@pytest.mark.parametrize("cell", [*cells()], ids=str)
def test_a_client_that_leaves(scenes: dict[str, Scene], cell: Cell):
    scene = scenes[cell.policy]

    played = scene.play(cell)

    assert cell.fate is Fate.EITHER or played.stored == cell.fate.value, cell.row
    assert cell.leave is not Leave.HALF_CLOSE or played.replies == cell.replies
    assert check(played.account, played.mailboxes, settled=False) == []
    settle(Client(scene.server.addresses[0]), played.account)
    assert check(played.account, played.mailboxes, settled=True) == []
    assert played.stored == 1


def test_a_server_without_barrier_is_noticed(authority: trustme.CA):
    cell = Cell("checked", "unix", Leave.CLOSE, says_quit=True, phase=Phase.STAGED)

    with serving("checked", authority, ("tests.crash.broken", "no barrier")) as scene:
        played = scene.play(cell)

        assert (played.stored, cell.fate) == (1, Fate.NOTHING)
        settle(Client(scene.server.addresses[0]), played.account)


@pytest.mark.parametrize("page", ["README.md", "docs/behind-the-dot.md"])
def test_the_table_is_the_documentations(page: str):
    rows = re.findall(
        r"^\| (.+?) \| (.+?) \| (.+?) \| (.+?) \| (.+?) \|$", (ROOT / page).read_text(), re.MULTILINE
    )
    told = {title: tuple(texts) for title, *texts in rows}

    assert {row: told.get(row) for row in TABLE} == {
        row: tuple(text for text, *_ in entries) for row, entries in TABLE.items()
    }
