"""What a mailbox that stays full is answered."""

from lmtpd.delivery.outcomes import Deferred, Refused
from lmtpd.delivery.quota import Quotas
from lmtpd.recipients.mailbox import Mailbox
from storage.disk import Disk
from storage.folders import Layout
from storage.maildir import MaildirPath
from storage.names import NameSource
from storage.quota import QuotaFiles
from storage.quota_state import QuotaState
from tests.support.quotas import make_maildir, put
from tests.support.services import A, quota_rules

DAY_S = 86_400.0


def mailbox_of(tmp_path, quota=None, folder=None):
    return Mailbox(
        user="a",
        address=A,
        maildir=MaildirPath(str(tmp_path), ("box",)),
        layout=Layout.MAILDIRPP,
        folder=folder,
        create=False,
        create_folder=False,
        quota=quota,
    )


def quotas_of(tmp_path, rules, clock=lambda: 0.0):
    files_ = QuotaFiles(Disk(), NameSource("mx", "a1"))
    return Quotas(files_, rules, QuotaState(tmp_path / "quota.db"), clock=clock)


def test_after_n_days_deferring_becomes_refusing(tmp_path):
    now = [1000.0]
    box = make_maildir(tmp_path / "box")
    put(box, 10)
    quotas = quotas_of(tmp_path, quota_rules("5", patience_s=3 * DAY_S), clock=lambda: now[0])
    mailbox = mailbox_of(tmp_path)

    answers = []
    for now[0] in (1000.0, 1000.0 + 3 * DAY_S - 1, 1000.0 + 3 * DAY_S):
        answers.append(type(quotas.refusal(mailbox, 0)))

    assert answers == [Deferred, Deferred, Refused]


def test_the_days_begin_anew_when_a_message_has_fitted(tmp_path):
    now = [1000.0]
    box = make_maildir(tmp_path / "box")
    message = put(box, 10)
    quotas = quotas_of(tmp_path, quota_rules("9", patience_s=DAY_S), clock=lambda: now[0])
    mailbox = mailbox_of(tmp_path)
    assert isinstance(quotas.refusal(mailbox, 0), Deferred)
    message.unlink()
    (box / "maildirsize").unlink()

    reservation = quotas.reserve(mailbox, None, 1)
    assert reservation is not None
    reservation.give_back()
    now[0] += DAY_S
    put(box, 10)
    (box / "maildirsize").unlink()

    assert isinstance(quotas.refusal(mailbox, 0), Deferred)


def test_without_knowing_since_when_it_is_deferred(tmp_path):
    make_maildir(tmp_path / "box")
    (tmp_path / "quota.db").mkdir()
    quotas = quotas_of(tmp_path, quota_rules("5", patience_s=DAY_S))

    refusal = quotas.refusal(mailbox_of(tmp_path), 6)

    assert isinstance(refusal, Deferred)
    assert "cannot be told" in refusal.detail
