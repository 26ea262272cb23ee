"""Postfix's configuration, as postconf tells it."""

import os

import pytest

from lmtpd.cli.doctor.postfix import PostfixUnreadable, read_postfix
from tests.support.requirements import need


@pytest.fixture
def read(tmp_path):
    need("postfix")

    def read(main: str = "", master: str = "lmtp unix - - y - 7 lmtp\n"):
        (tmp_path / "main.cf").write_text(f"compatibility_level = 3.6\nqueue_directory = /queue\n{main}")
        (tmp_path / "master.cf").write_text(master)
        for name in ("main.cf", "master.cf"):
            # Postfix's programs wait for a file that was changed this second.
            os.utime(tmp_path / name, (1.7e9, 1.7e9))
        postfix = read_postfix(str(tmp_path))
        assert postfix is not None
        return postfix

    return read


def routes(postfix):
    return [(each.parameter, str(each)) for each in postfix.routes()]


@pytest.mark.parametrize(
    "value, where",
    [
        ("lmtp:unix:private/lmtpd", "unix:/queue/private/lmtpd"),
        ("lmtp:unix:/run/lmtpd", "unix:/queue/run/lmtpd"),
        ("lmtp:inet:127.0.0.1:24", "tcp:127.0.0.1:24"),
        ("lmtp:[127.0.0.1]:2400", "tcp:127.0.0.1:2400"),
        ("lmtp:inet:[::1]:24", "tcp:::1:24"),
        ("lmtp:mail.example.org", "tcp:mail.example.org:24"),
    ],
)
def test_route_is_where_the_client_connects_to(read, value, where):
    assert routes(read(f"virtual_transport = {value}\n")) == [("virtual_transport", where)]


def test_client_without_chroot_takes_an_absolute_path_as_it_is(read):
    postfix = read("mailbox_transport = lmtp:unix:/run/lmtpd\n", "lmtp unix - - n - - lmtp\n")

    assert routes(postfix) == [("mailbox_transport", "unix:/run/lmtpd")]


@pytest.mark.parametrize("level, is_inside", [("3.6", False), ("0", True)])
def test_default_of_chroot_depends_on_the_compatibility_level(read, level, is_inside):
    postfix = read(f"compatibility_level = {level}\n", "lmtp unix - - - - - lmtp\n")

    (service,) = postfix.services
    assert service.chroot is is_inside
    assert service.process_limit == 100


def test_client_of_another_name_with_options_of_its_own(read):
    master = (
        "store unix - - n - 7 lmtp\n  -o lmtp_data_done_timeout=2m\n  -o lmtp_send_xforward_command=yes\n"
    )
    postfix = read(
        "virtual_transport = store:unix:private/x\nstore_destination_recipient_limit = 9\n", master
    )

    (route,) = postfix.routes()
    assert route.service.process_limit == 7
    assert postfix.seconds("lmtp_data_done_timeout", route.service) == 120
    assert postfix.seconds("lmtp_data_done_timeout") == 600
    assert postfix.switched_on("lmtp_send_xforward_command", route.service)
    assert postfix.number("store_destination_recipient_limit") == 9


def test_transports_that_are_no_lmtp_are_no_routes(read):
    postfix = read("virtual_transport = virtual\nmailbox_transport = smtp:x\n", "smtp unix - - n - - smtp\n")

    assert routes(postfix) == []
    assert list(postfix.transports_without_service()) == [("virtual_transport", "virtual")]


def test_configuration_that_is_not_there(tmp_path):
    need("postfix")

    with pytest.raises(PostfixUnreadable, match="nowhere"):
        read_postfix(str(tmp_path / "nowhere"))


def test_no_postfix_on_the_machine(monkeypatch):
    monkeypatch.setattr("lmtpd.cli.doctor.postfix._PATH", "/nowhere")

    assert read_postfix(None) is None
