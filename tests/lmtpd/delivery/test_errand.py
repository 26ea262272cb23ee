import pytest

from lmtpd.delivery.admission import Floor
from lmtpd.delivery.errand import deliver_own
from lmtpd.delivery.service import Commit
from lmtpd.protocol.addresses import Address
from tests.support.admissions import limited
from tests.support.quotas import make_maildir, put
from tests.support.services import KeptReports, files, make_service, quota_rules

BOX_A = "example.org/a"
TO_A = Address("a", "example.org")
MESSAGE = b"Subject: x\r\n\r\nx\r\n"


@pytest.fixture
def box(tmp_path):
    return make_maildir(tmp_path / "mail" / BOX_A)


@pytest.mark.parametrize("commit", Commit)
def test_our_own_message_goes_the_way_of_all(tmp_path, box, commit):
    service = make_service(tmp_path, commit=commit)
    calls = []

    reply = deliver_own(service, TO_A, MESSAGE, delivered=lambda: calls.append(files(tmp_path, BOX_A)))

    (stored,) = files(tmp_path, BOX_A)
    assert (reply.code, calls) == (250, [[stored]])
    assert stored.read_text().startswith("Return-Path: <>\nDelivered-To: a@example.org\n")
    assert isinstance(service.reporter, KeptReports)
    assert service.reporter.reports[0].client == "own"


def test_no_quota_holds_it_up(tmp_path, box):
    put(box, 1000)
    service = make_service(tmp_path, quota=quota_rules("1000", patience_s=0.0))

    assert deliver_own(service, TO_A, MESSAGE, delivered=lambda: None).code == 250


def test_no_limit_holds_it_up(tmp_path, box):
    service = limited(tmp_path, floor=Floor(2**60, 0, 0))

    assert deliver_own(service, TO_A, MESSAGE, delivered=lambda: None).code == 250


def test_who_is_unknown_gets_nothing(tmp_path):
    service = make_service(tmp_path, create=False)
    make_maildir(tmp_path / "mail/example.org/somebody")
    calls = []

    reply = deliver_own(service, TO_A, MESSAGE, delivered=lambda: calls.append(1))

    assert (reply.code, calls) == (550, [])


def test_what_could_not_be_noted_is_recognised_when_it_comes_again(tmp_path, box):
    service = make_service(tmp_path)

    def fail():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        deliver_own(service, TO_A, MESSAGE, delivered=fail)
    assert deliver_own(service, TO_A, MESSAGE, delivered=lambda: None).code == 250
    assert len(files(tmp_path, BOX_A)) == 1

    deliver_own(service, TO_A, MESSAGE, delivered=lambda: None)
    assert len(files(tmp_path, BOX_A)) == 2
