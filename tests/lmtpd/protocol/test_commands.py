import pytest

from lmtpd.protocol import replies
from lmtpd.protocol.addresses import Address
from lmtpd.protocol.commands import MailParameters, parse_lhlo, parse_mail, parse_rcpt
from tests.lmtpd.protocol.driver import refusal

SENDER = Address("a", "b")


# ---- LHLO


@pytest.mark.parametrize(
    "name", [b"mx.example.org", b"[192.0.2.1]", b"[IPv6:::1]", b"odd_name", b"(x)", b"-"]
)
def test_lhlo_takes_any_printable_word(name):
    assert parse_lhlo(name) == name.decode()


@pytest.mark.parametrize("argument", [b"", b"two words", b" x", b"\xff", b"b\xc3\xbccher", b"a\tb", b"\x7f"])
def test_lhlo_refuses_all_else(argument):
    assert refusal(parse_lhlo, argument) is replies.LHLO_SYNTAX


# ---- MAIL and RCPT


def test_mail_without_parameters():
    assert parse_mail(b"FROM:<a@b>") == (SENDER, b"a@b", MailParameters(None, "7BIT", False, {}))


def test_mail_with_all_parameters():
    argument = b"FROM:<a@b> SIZE=12 BODY=8BITMIME SMTPUTF8 AUTH=<>"

    assert parse_mail(argument)[2] == MailParameters(12, "8BITMIME", True, {"AUTH": b"<>"})


def test_null_sender():
    # 61
    assert parse_mail(b"FROM:<> SIZE=12")[:2] == (None, b"")


def test_path_is_kept_as_issued():
    assert parse_mail(b'From:<@x:"a"@B.Example>')[:2] == (Address("a", "b.example"), b'@x:"a"@B.Example')
    assert parse_rcpt(b'To:<@x:"a"@B.Example> ORCPT=rfc822;x', smtputf8=False)[1] == b'@x:"a"@B.Example'


def test_international_sender_with_smtputf8():
    # 66: the parameter stands behind the path
    assert parse_mail("FROM:<ü@b> SMTPUTF8".encode())[0] == Address("ü", "b")


def test_keywords_are_case_insensitive_and_blanks_may_be_several():
    assert parse_mail(b"fRoM:<a@b>  size=1   body=8bitMIME  smtpUTF8")[2] == MailParameters(
        1, "8BITMIME", True
    )


@pytest.mark.parametrize(
    "value, size",
    [(b"0", None), (b"1", 1), (b"00012", 12), (b"9" * 20, int("9" * 20))],
)
def test_size(value, size):
    # 23
    assert parse_mail(b"FROM:<a@b> SIZE=" + value)[2].size == size


@pytest.mark.parametrize(
    "argument, reply",
    [
        *(
            (text, replies.MAIL_SYNTAX)
            for text in (b"", b"FROM:", b"FROM:a@b", b"TO:<a@b>", b"FROM <a@b>", b"FROM:x")
        ),
        (b"FROM: <a@b>", replies.MAIL_SYNTAX),
        (b" FROM:<a@b>", replies.MAIL_SYNTAX),
        (b"FROM:<a@b>SIZE=1", replies.MAIL_SYNTAX),
        (b"FROM:<a@b>>", replies.MAIL_SYNTAX),
        (b"FROM:<a@b>\tSIZE=1", replies.MAIL_SYNTAX),
        (b"FROM:<", replies.bad_sender("malformed address")),
        (b"FROM:<a b@c>", replies.bad_sender("malformed address")),
        (b"FROM:<a@[1]>", replies.bad_sender("bad address literal")),
        (b"FROM:<\xff@b> SMTPUTF8", replies.bad_sender("address is not UTF-8")),
        ("FROM:<ü@b>".encode(), replies.NEEDS_SMTPUTF8),
        ("FROM:<ü@b> SIZE=1".encode(), replies.NEEDS_SMTPUTF8),
    ],
)
def test_malformed_mail_is_refused(argument, reply):
    assert refusal(parse_mail, argument) == reply


@pytest.mark.parametrize(
    "parameters, reply",
    [
        # 23 and 69
        *(
            (text, replies.BAD_PARAMETER)
            for text in (b"SIZE", b"SIZE=", b"SIZE=x", b"SIZE=-1", b"SIZE==1", b"SIZE=1.0")
        ),
        (b"SIZE=" + b"1" * 21, replies.BAD_PARAMETER),
        ("SIZE=²".encode(), replies.BAD_PARAMETER),
        *(
            (text, replies.BAD_PARAMETER)
            for text in (b"BODY", b"BODY=", b"BODY=9BIT", b"SMTPUTF8=", b"SMTPUTF8=x")
        ),
        *(
            (text, replies.BAD_PARAMETER)
            for text in (b"AUTH", b"AUTH=", b"AUTH=a+0Ab", b"AUTH=+zz", b"AUTH=\xff")
        ),
        (b"SIZE=1 SIZE=1", replies.REPEATED_PARAMETER),
        (b"SIZE=1 BODY=7BIT size=2", replies.REPEATED_PARAMETER),
        (b"SMTPUTF8 SMTPUTF8", replies.REPEATED_PARAMETER),
        *(
            (text, replies.UNKNOWN_PARAMETER)
            for text in (b"RET=HDRS", b"ENVID=x", b"REQUIRETLS", b"X", b"=", b"\xc3")
        ),
        (b"ORCPT=rfc822;x", replies.UNKNOWN_PARAMETER),
    ],
)
def test_parameters_of_mail_are_checked(parameters, reply):
    assert refusal(parse_mail, b"FROM:<a@b> " + parameters) is reply


def test_recipient():
    assert parse_rcpt(b"TO:<a@b>", smtputf8=False) == (SENDER, b"a@b", {})


def test_postmaster_needs_no_domain():
    # 64
    assert parse_rcpt(b"TO:<Postmaster>", smtputf8=False)[0] == Address("Postmaster", "")


@pytest.mark.parametrize(
    "value",
    [
        b"rfc822;user+2Bdetail@example.org",
        b"RFC822;a@b",
        b"x-odd;whatever",
        "utf-8;ü@d".encode(),
        b"utf-8;\\x{FC}@d",
    ],
)
def test_original_recipient_is_kept_as_issued(value):
    assert parse_rcpt(b"TO:<a@b> orcpt=" + value, smtputf8=False)[2] == {"ORCPT": value}


@pytest.mark.parametrize(
    "argument, reply",
    [
        *((text, replies.RCPT_SYNTAX) for text in (b"", b"TO:", b"TO:a@b", b"FROM:<a@b>", b"TO: <a@b>")),
        (b"TO:<a@b>x", replies.RCPT_SYNTAX),
        (b"TO:<>", replies.bad_recipient("null address")),  # 61
        (b"TO:<a b>", replies.bad_recipient("malformed address")),
        ("TO:<ü@b>".encode(), replies.NEEDS_SMTPUTF8),
        *((b"TO:<a@b> " + text, replies.UNKNOWN_PARAMETER) for text in (b"NOTIFY=NEVER", b"SIZE=1", b"=")),
        (b"TO:<a@b> ORCPT=rfc822;x ORCPT=rfc822;x", replies.REPEATED_PARAMETER),
        # 69
        *(
            (b"TO:<a@b> ORCPT" + text, replies.BAD_PARAMETER)
            for text in (b"", b"=", b"=x", b"=;x", b"=rfc822;")
        ),
        *(
            (b"TO:<a@b> ORCPT=rfc822;" + text, replies.BAD_PARAMETER)
            for text in (b"+", b"+2", b"+GG", b"a=b")
        ),
        (b"TO:<a@b> ORCPT=rfc822;a+0D+0Ab", replies.BAD_PARAMETER),
        (b"TO:<a@b> ORCPT=r/c;x", replies.BAD_PARAMETER),
        *(
            (b"TO:<a@b> ORCPT=utf-8;" + text, replies.BAD_PARAMETER)
            for text in (b"", b"\xff", b"\xc2\x85", b"\t")
        ),
    ],
)
def test_malformed_rcpt_is_refused(argument, reply):
    assert refusal(parse_rcpt, argument, smtputf8=False) == reply


def test_international_recipient_with_smtputf8():
    assert parse_rcpt("TO:<ü@b>".encode(), smtputf8=True)[0] == Address("ü", "b")
