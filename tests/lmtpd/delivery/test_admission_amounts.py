"""Too little room, or too much mail, is answered at RCPT."""

import errno
import os
from dataclasses import replace

import pytest

from lmtpd.delivery.admission import Admission, Floor, Rates
from lmtpd.delivery.peer import Peer
from lmtpd.delivery.rates import Buckets
from lmtpd.delivery.transaction import Transaction
from lmtpd.protocol import replies
from storage.disk import Disk
from storage.free_space import FreeSpace
from tests.support.admissions import PEER, answer, causes, limited
from tests.support.clocks import Clock
from tests.support.services import (
    ENVELOPE,
    A,
    make_service,
    offered,
)

# ---- room ------------------------------------------------------------------------------------------


class FillingDisk(Disk):
    """1000 blocks of 1000 octets, 1000 inodes."""

    def __init__(self, blocks: int, inodes: int = 1000) -> None:
        self.values = (1000, 1000, 1000, blocks, blocks, 1000, inodes, inodes, 0, 255)

    def file_system(self, path: str) -> os.statvfs_result:
        return os.statvfs_result(self.values)


@pytest.mark.parametrize("blocks, code", [(99, 452), (100, 250), (101, 250)])
@pytest.mark.parametrize("floor", [Floor(100_000, 0, 0), Floor(0, 10, 0)], ids=["octets", "percent"])
def test_below_the_floor_there_is_no_room(tmp_path, floor, blocks, code):
    service = limited(tmp_path, disk=FillingDisk(blocks), floor=floor)

    assert answer(service, A).code == code
    if code == 452:
        assert causes(service) == [("deferred", "free_space")]


@pytest.mark.parametrize("inodes, code", [(9, 452), (10, 250), (11, 250)])
def test_inodes_have_a_floor_as_well(tmp_path, inodes, code):
    service = limited(tmp_path, disk=FillingDisk(500, inodes), floor=Floor(0, 0, 10))

    assert answer(service, A).code == code


@pytest.mark.parametrize("size, code", [(99_999, 250), (100_000, 250), (100_001, 452)])
def test_the_message_itself_needs_room_as_well(tmp_path, size, code):
    service = limited(tmp_path, disk=FillingDisk(200), floor=Floor(100_000, 0, 0))

    assert answer(service, A, envelope=replace(ENVELOPE, size=size)).code == code


def test_a_file_system_that_does_not_tell_is_no_reason(tmp_path):
    class Silent(Disk):
        def file_system(self, path: str) -> os.statvfs_result:
            raise OSError(errno.EIO, "silent")

    assert answer(limited(tmp_path, disk=Silent(), floor=Floor(1, 0, 0)), A) is replies.RECIPIENT_OK


# ---- rates -----------------------------------------------------------------------------------------


def buckets(per_minute: int) -> Buckets:
    return Buckets(per_minute, clock=Clock())


@pytest.mark.parametrize("recipients, deferred", [(2, 0), (3, 0), (4, 1)])
@pytest.mark.parametrize("kind", ["sender", "domain"])
def test_a_rate_is_in_recipients(tmp_path, kind, recipients, deferred):
    service = limited(tmp_path, rates=Rates(**{kind: buckets(3)}))
    transaction = Transaction(service, PEER, ENVELOPE)

    answered = [transaction.offer(offered(f"r{number}@example.org")) for number in range(recipients)]

    assert answered.count(replies.TOO_MUCH_MAIL) == deferred
    assert causes(service) == [("deferred", f"{kind}_rate")] * deferred


def test_the_client_is_whom_xforward_names(tmp_path):
    service = limited(tmp_path, rates=Rates(client=buckets(1)))
    one = replace(ENVELOPE, forwarded={"ADDR": "192.0.2.1"})
    other = replace(ENVELOPE, forwarded={"ADDR": "192.0.2.2"})

    answered = [answer(service, A, envelope=envelope).code for envelope in (one, one, other)]

    assert answered == [250, 451, 250]
    assert causes(service) == [("deferred", "client_rate")]


def test_a_client_without_xforward_is_its_address_and_a_local_one_has_none(tmp_path):
    service = limited(tmp_path, rates=Rates(client=buckets(1)))
    remote = Peer("tcp", address="192.0.2.1", port=1)

    assert [answer(service, A, peer=remote).code for _ in range(2)] == [250, 451]
    assert [answer(service, A).code for _ in range(2)] == [250, 250]


def test_bounces_have_no_sender_to_be_limited_by(tmp_path):
    service = limited(tmp_path, rates=Rates(sender=buckets(1)))
    bounce = replace(ENVELOPE, sender=None, sender_path=b"")

    assert [answer(service, A, envelope=bounce).code for _ in range(3)] == [250, 250, 250]


def test_who_is_turned_away_by_one_rate_costs_the_others_nothing(tmp_path):
    rates = Rates(sender=buckets(2), domain=buckets(1))
    service = limited(tmp_path, rates=rates)

    answered = [answer(service, address).code for address in (A, A, A, "a@example.net", "b@example.com")]

    assert answered == [250, 451, 451, 250, 451]


def test_recipients_that_are_unknown_are_not_counted(tmp_path):
    service = make_service(tmp_path, create=False)
    (tmp_path / "mail/example.org/a").mkdir(parents=True)
    service.admission = Admission(
        service.directory, free_space=FreeSpace(Disk()), rates=Rates(sender=buckets(1))
    )

    answered = [answer(service, address).code for address in ("nobody@example.org", A, A)]

    assert answered == [550, 250, 451]


def test_without_slots_nobody_watches(tmp_path):
    service = limited(tmp_path, rates=Rates(sender=buckets(10)))
    assert service.admission is not None
    mailbox = service.admission.answer(offered(A), ENVELOPE, PEER).mailbox

    assert mailbox is not None
    with service.admission.at_work_in(mailbox):
        assert answer(service, A) is replies.RECIPIENT_OK
