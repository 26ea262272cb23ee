from lmtpd.config import UnixListener
from tests.support.configs import from_text, problems_of

SOCKETS = """\
[[listen]]
unix = "/run/lmtpd"
[[policy]]
unix = "/run/policy"
mode = "0666"
[[socketmap]]
tcp = "127.0.0.1:2526"
"""


def test_each_protocol_has_sockets_of_its_own(tmp_path):
    config = from_text(tmp_path, SOCKETS)

    assert [str(each) for each in config.sockets] == [
        "unix:/run/lmtpd",
        "unix:/run/policy",
        "tcp:127.0.0.1:2526",
    ]
    (policy,) = config.policy
    assert isinstance(policy, UnixListener)
    assert policy.mode == 0o666


def test_two_protocols_cannot_share_one(tmp_path):
    text = SOCKETS + '[[socketmap]]\nunix = "/run/lmtpd"\n'

    assert problems_of(tmp_path, text) == ["lmtpd.toml:8: socketmap[1]: unix:/run/lmtpd is listed twice"]


def test_mistakes_are_told_as_for_listen(tmp_path):
    text = '[policy]\nunix = "/run/x"\n[[socketmap]]\ntcp = "h:1"\nmode = "0600"\n[[socketmap]]\nport = 3\n'

    assert problems_of(tmp_path, text) == [
        'lmtpd.toml:1: policy = {"unix": "/run/x"}: must be a list of tables: begin each with [[policy]]',
        'lmtpd.toml:5: socketmap[0].mode = "0600": belongs to unix sockets only',
        (
            'lmtpd.toml:6: socketmap[1] = {"port": 3}: must be a table with either unix = "PATH" or'
            ' tcp = "HOST:PORT"'
        ),
    ]
