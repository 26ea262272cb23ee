"""`lmtpd doctor` on a real server and a real Postfix configuration.

Each planted fault is found, with the line that mends it; and where that line can be run here, it is, and then
nothing is found any more.
"""

import os
import shutil
import socket
from collections.abc import Iterator

import pytest

from lmtpd.__main__ import main
from tests.support.patient import USER, Patient, as_flags, healthy, run, write_postfix

pytestmark = [pytest.mark.system, pytest.mark.xdist_group("doctor")]


@pytest.fixture(scope="module")
def patient() -> Iterator[Patient]:
    with healthy() as patient:
        yield patient


@pytest.fixture(autouse=True)
def restored(patient: Patient) -> Iterator[None]:
    yield
    write_postfix(patient.etc, patient.queue)


def test_healthy_system_has_no_findings_and_leaves_no_message(
    patient: Patient, capsys: pytest.CaptureFixture[str]
):
    flags = ["--config", str(patient.config), "--postfix-config", str(patient.etc)]

    assert main(["doctor", *flags]) == 0
    assert capsys.readouterr().out == "OK        nothing was found\n"
    assert patient.examine() == []
    assert not [path for path in patient.server.mail.rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    "parameter, value, key",
    [
        ("lmtp_line_length_limit", "998", "postfix.lmtp_line_length_limit"),
        ("message_size_limit", "104857601", "postfix.message_size_limit"),
        ("message_size_limit", "0", "postfix.message_size_limit"),
        ("lmtp_destination_recipient_limit", "1001", "postfix.recipient_limit"),
        ("lmtp_data_done_timeout", "240s", "postfix.lmtp_data_done_timeout"),
        ("lmtp_connection_cache_time_limit", "5m", "postfix.lmtp_connection_cache_time_limit"),
        ("lmtp_destination_concurrency_limit", "4", "postfix.concurrency"),
        ("default_process_limit", "49", "postfix.process_limit"),
        ("lmtp_send_xforward_command", "no", "postfix.lmtp_send_xforward_command"),
        ("lmtp_discard_lhlo_keywords", "smtputf8, dsn", "postfix.lmtp_discard_lhlo_keywords"),
        ("lmtp_tls_security_level", "encrypt", "postfix.lmtp_tls_security_level"),
        ("recipient_delimiter", "", "postfix.recipient_delimiter"),
        ("smtputf8_enable", "no", "postfix.smtputf8_enable"),
        ("enable_original_recipient", "no", "postfix.enable_original_recipient"),
        ("defer_transports", "lmtp", "postfix.defer_transports"),
        ("virtual_transport", "virtual", "postfix.transport"),
        ("virtual_transport", "lmtpd:unix:private/lmtpd", "postfix.service"),
    ],
)
def test_setting_of_postfix_is_found_and_mended_by_the_line(
    patient: Patient, parameter: str, value: str, key: str
):
    write_postfix(patient.etc, patient.queue, **{parameter: value})
    if value == "virtual":
        with (patient.etc / "master.cf").open("a") as master:
            master.write("virtual unix - n n - - virtual\n")
    found = {finding["key"]: finding for finding in patient.examine()}

    assert key in found
    assert found[key]["mend"].startswith(f"postconf -c {patient.etc} ")
    run(found[key]["mend"])
    left = {finding["key"] for finding in patient.examine()} - {"postfix.transport"}
    assert key not in left
    assert not left


@pytest.mark.parametrize(
    "parameter, value", [("message_size_limit", "104857600"), ("lmtp_data_done_timeout", "241s")]
)
def test_setting_at_its_limit_is_no_fault(patient: Patient, parameter: str, value: str):
    write_postfix(patient.etc, patient.queue, **{parameter: value})

    assert patient.examine() == []


@pytest.mark.parametrize(
    "parameter, value, key",
    [
        ("lmtp_destination_concurrency_limit", "201", "postfix.concurrency"),
        ("recipient_delimiter", "+-", "postfix.recipient_delimiter"),
    ],
)
def test_setting_of_ours_is_found_and_mended_by_the_line(
    patient: Patient, parameter: str, value: str, key: str
):
    write_postfix(patient.etc, patient.queue, default_process_limit="1000", **{parameter: value})
    finding = patient.only()

    assert finding["key"] == key
    assert patient.examine(*as_flags(finding["mend"])) == []


def test_socket_elsewhere(patient: Patient):
    write_postfix(patient.etc, patient.queue, virtual_transport="lmtp:unix:private/other")
    finding = patient.only()

    assert finding["key"] == "postfix.socket"
    assert finding["mend"] == f'unix = "{patient.queue}/private/other"   # [[listen]] in {patient.config}'


def test_sockets_of_systemd_are_looked_for_where_postfix_does(patient: Patient):
    assert patient.examine("--set", "listen=[]") == []

    patient.socket.chmod(0o600)
    shutil.chown(patient.socket, USER)
    try:
        closed = patient.only("--set", "listen=[]")
    finally:
        patient.socket.chmod(0o660)
        shutil.chown(patient.socket, "postfix")
    write_postfix(patient.etc, patient.queue, virtual_transport="lmtp:unix:private/other")
    missing = patient.only("--set", "listen=[]")

    assert closed["key"] == "server.mode"
    assert closed["mend"].startswith("systemctl edit lmtpd.socket   # [Socket]  SocketUser=postfix")
    assert (missing["key"], missing["mend"]) == ("server.socket", "systemctl start lmtpd")
    assert f"{patient.queue}/private/other does not exist" in missing["problem"]


def test_chroot(patient: Patient):
    write_postfix(patient.etc, patient.queue, virtual_transport=f"lmtp:unix:{patient.socket}")
    finding = patient.only()

    assert finding["key"] == "postfix.chroot"
    assert f"looks for the socket at {patient.queue}{patient.socket}" in finding["problem"]
    run(finding["mend"])
    assert patient.examine() == []


def test_mode_of_the_socket(patient: Patient):
    patient.socket.chmod(0o600)
    shutil.chown(patient.socket, USER)
    try:
        with_owner, without = patient.only(), patient.only("--set", f'listen=[{{unix="{patient.socket}"}}]')
    finally:
        patient.socket.chmod(0o660)
        shutil.chown(patient.socket, "postfix")

    assert (with_owner["key"], without["key"]) == ("server.mode", "server.mode")
    assert "postfix may not connect" in with_owner["problem"]
    assert with_owner["mend"].startswith('mode = "0660"   # [[listen]]')
    assert without["mend"].startswith('owner = "postfix"   # [[listen]]')


def test_directory_of_the_socket(patient: Patient):
    patient.queue.chmod(0o700)
    try:
        # In its chroot Postfix does not pass through the queue directory's parents; elsewhere it does.
        write_postfix(patient.etc, patient.queue)
        run(f"postconf -c {patient.etc} -F lmtp/unix/chroot=n")
        finding = patient.only()
        run(finding["mend"])
        mended = patient.examine()
    finally:
        patient.queue.chmod(0o755)

    assert finding["key"] == "server.directory"
    assert finding["mend"] == f"chmod o+x {patient.queue}"
    assert mended == []


@pytest.mark.parametrize("stale, words", [(True, "nobody serves"), (False, "does not exist")])
def test_server_that_does_not_run(patient: Patient, stale: bool, words: str):
    path = patient.queue / "private" / "dead"
    if stale:
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(str(path))
        path.chmod(0o666)
    write_postfix(patient.etc, patient.queue, virtual_transport="lmtp:unix:private/dead")
    finding = patient.only("--set", f'listen=[{{unix="{path}"}}]')
    path.unlink(missing_ok=True)

    assert (finding["key"], finding["mend"]) == ("server.socket", "systemctl start lmtpd")
    assert words in finding["problem"]
    assert patient.code == 2


def test_somebody_else_at_the_socket(patient: Patient):
    path = patient.queue / "private" / "other"
    write_postfix(patient.etc, patient.queue, virtual_transport="lmtp:unix:private/other")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        path.chmod(0o666)
        listening.listen()
        pid = os.fork()
        if pid == 0:
            listening.accept()[0].sendall(b"* OK IMAP4rev1\r\n")
            os._exit(0)
        finding = patient.only("--set", f'listen=[{{unix="{path}"}}]')
        os.waitpid(pid, 0)
    path.unlink()

    assert finding["key"] == "server.protocol"
    assert '"* OK IMAP4rev1"' in finding["problem"]


def test_configuration_that_was_not_loaded(patient: Patient):
    finding = patient.only("--set", "limits.message_octets=60000000")

    assert (finding["key"], finding["mend"]) == ("server.configuration", "systemctl reload lmtpd")


def test_postmaster_that_does_not_exist(patient: Patient):
    finding = patient.only("--set", "mailboxes.postmaster=nobody@example.org")

    assert finding["key"] == "server.postmaster"
    assert finding["mend"].startswith('postmaster = "')


def test_text_tells_problem_line_and_what_to_do_behind_postconf(
    patient: Patient, capsys: pytest.CaptureFixture[str]
):
    write_postfix(patient.etc, patient.queue, lmtp_line_length_limit="998")

    assert main(["doctor", "--config", str(patient.config), "--postfix-config", str(patient.etc)]) == 1

    problem = "Postfix breaks lines at 998 octets, which changes the message and breaks DKIM signatures"
    assert capsys.readouterr().out.splitlines() == [
        f"WARNING   postfix.lmtp_line_length_limit: {problem}",
        f"          mend: postconf -c {patient.etc} -e 'lmtp_line_length_limit = 0'",
        "Behind postconf: postfix reload",
    ]


def test_postfix_that_cannot_be_read(patient: Patient, capsys: pytest.CaptureFixture[str]):
    flags = ["--config", str(patient.config), "--postfix-config", str(patient.folder / "nowhere")]

    assert main(["doctor", *flags]) == 78

    assert "postconf: " in capsys.readouterr().err
