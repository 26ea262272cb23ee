"""A mailbox that was full, seen to have room again without a delivery."""

from lmtpd.delivery.quota_keeper import KeeperRules, QuotaKeeper
from lmtpd.delivery.quota_truth import FULL_S
from lmtpd.recipients.mailbox import Mailbox
from tests.support.quotas import make_maildir, put
from tests.support.services import A, begin, make_service, offered, quota_rules

DAY_S = 86_400.0


def test_the_days_of_a_full_mailbox_end_when_it_has_room_whoever_made_it(tmp_path):
    box = make_maildir(tmp_path / "mail/example.org/a")
    message = put(box, 2_000)
    put(box, 900)
    service = make_service(tmp_path, quota=quota_rules("1000", patience_s=3 * DAY_S))
    quotas = service.quotas
    assert quotas is not None
    now = [1_700_000_000.0]
    rules = KeeperRules(
        thresholds=(), command=None, postmaster="pm@example.org", refuses=True, maildirs=0, sample_s=0
    )
    keeper = QuotaKeeper(service, quotas, rules, lock=tmp_path / "state/keeper", clock=lambda: now[0])
    keeper._truth.clock = lambda: now[0]
    started = []
    quotas.on_seen = lambda: started.append(1)
    mailbox = service.directory.find(offered(A).address)
    assert isinstance(mailbox, Mailbox)
    assert quotas.refusal(mailbox, 0) is not None
    assert started == [1]
    assert len(quotas.state.all()) == 1

    message.unlink()
    for _ in range(2):
        keeper.judge()
        keeper.tell_and_check()
        now[0] += FULL_S + 1
    keeper.stop()

    assert quotas.state.all() == {}
    assert begin(service, [A]) is not None
