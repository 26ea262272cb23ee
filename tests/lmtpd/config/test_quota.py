import pytest

from lmtpd.config import Need, effective
from storage.quota_limit import UNLIMITED, QuotaLimit
from tests.support.configs import from_text, problems_of


def test_without_the_table_there_is_no_quota(tmp_path):
    quota = from_text(tmp_path, "").quota

    assert quota.default_limit == UNLIMITED
    assert quota.patience_s is None


@pytest.mark.parametrize(
    "text, limit",
    [
        ("default = 0", UNLIMITED),
        ("default = '2G,100000M'", QuotaLimit(2 << 30, 100_000)),
        ("default = '1000S,5C'", QuotaLimit(1000, 5)),
        ("default = 'maildirsize'", None),
    ],
)
def test_the_default_is_a_limit_or_what_each_mailbox_says(tmp_path, text, limit):
    assert from_text(tmp_path, f"[quota]\n{text}").quota.default_limit == limit


@pytest.mark.parametrize(
    "full, patience_s",
    [("defer", None), ("reject", 0.0), ("defer 3d", 3 * 86_400.0), ("defer 999d", 999 * 86_400.0)],
)
def test_what_full_means(tmp_path, full, patience_s):
    assert from_text(tmp_path, f"[quota]\nfull = '{full}'").quota.patience_s == patience_s


def test_folders_may_be_exceptions(tmp_path):
    text = '[quota]\nfolders = ["Trash:+100M", "Lists/C:D:ignore"]'

    trash, lists = from_text(tmp_path, text).quota.folders

    assert (trash.folder, trash.extra) == ("Trash", QuotaLimit(100 << 20))
    assert (lists.folder, lists.extra) == ("Lists/C:D", None)
    assert (str(trash), str(lists)) == ("Trash:+100M", "Lists/C:D:ignore")


def test_a_folder_has_one_rule(tmp_path):
    text = '[quota]\nfolders = ["Trash:+1M", "Trash:ignore"]'

    assert problems_of(tmp_path, text) == ['lmtpd.toml:2: quota.folders[1] = "Trash": has a rule already']


def test_a_command_must_be_a_program_and_have_something_to_tell(tmp_path):
    text = '[quota]\nwarning_command = "/etc/passwd"\n'

    assert problems_of(tmp_path, text, needs=frozenset({Need.PRIVILEGES})) == [
        'lmtpd.toml:2: quota.warning_command = "/etc/passwd": is not a program that can be run',
        'lmtpd.toml:2: quota.warning_command = "/etc/passwd": is never run: quota.warnings is empty',
    ]


def test_thresholds_are_shares(tmp_path):
    config = from_text(tmp_path, '[quota]\nwarnings = ["80%", "95%"]')

    assert config.quota.warnings == (80, 95)
    assert dict(effective(config))["quota", "warnings"] == ["80%", "95%"]
