"""The same dialogues, said to Dovecot's LMTP server and to ours, and compared reply class by reply class.

DIFFERENCES is the table of what differs, and why. An entry that no longer holds fails, as does a difference
without an entry.
"""

import itertools
import os
import random
import re
from collections.abc import Iterator

import pytest

from tests.support import dovecot as dovecots
from tests.support.lmtp_client import LmtpClient
from tests.support.postfix import public_folder
from tests.support.requirements import need
from tests.support.server import Server

pytestmark = [pytest.mark.system, pytest.mark.slow]

L, M, R = "LHLO client.example.org\r\n", "MAIL FROM:<s@example.org>\r\n", "RCPT TO:<a@example.org>\r\n"
ALL = L + M + R
X = "Subject: x\r\n\r\nx\r\n"
Q = "QUIT\r\n"

DIALOGUES = {
    "nothing but QUIT": Q,
    "a delivery": ALL + "DATA\r\n" + X + ".\r\n" + Q,
    "two recipients": ALL + "RCPT TO:<b@example.org>\r\nDATA\r\n" + X + ".\r\n" + Q,
    "the same recipient twice": ALL + R + "DATA\r\n" + X + ".\r\n" + Q,
    "two deliveries": ALL + "DATA\r\n" + X + ".\r\n" + M + R + "DATA\r\n" + X + ".\r\n" + Q,
    "an empty message": ALL + "DATA\r\n.\r\n" + Q,
    "dots": ALL + "DATA\r\n..\r\n...\r\n..x\r\n.\r\n" + Q,
    "the null sender": L + "MAIL FROM:<>\r\n" + R + "DATA\r\n" + X + ".\r\n" + Q,
    "BDAT": ALL + "BDAT 5 LAST\r\nabc\r\n" + Q,
    "BDAT in chunks": ALL + "BDAT 3\r\nabcBDAT 2\r\n\r\nBDAT 0 LAST\r\n" + Q,
    "HELO": "HELO x\r\n" + Q,
    "EHLO": "EHLO x\r\n" + Q,
    "LHLO without a name": "LHLO\r\n" + Q,
    "LHLO again": L + L + Q,
    "LHLO drops the transaction": ALL + L + "DATA\r\n" + Q,
    "MAIL before LHLO": M + Q,
    "RCPT before MAIL": L + R + Q,
    "DATA before MAIL": L + "DATA\r\n" + Q,
    "DATA before RCPT": L + M + "DATA\r\n" + Q,
    "BDAT before MAIL": L + "BDAT 3\r\nabc" + Q,
    "BDAT LAST before RCPT": L + M + "BDAT 3 LAST\r\nabc" + Q,
    "MAIL twice": L + M + M + Q,
    "RSET": ALL + "RSET\r\n" + "DATA\r\n" + Q,
    "RSET before LHLO": "RSET\r\n" + Q,
    "NOOP": "NOOP\r\n" + L + "NOOP x\r\n" + Q,
    "VRFY": L + "VRFY a\r\n" + Q,
    "EXPN": L + "EXPN a\r\n" + Q,
    "HELP": L + "HELP\r\n" + Q,
    "AUTH": L + "AUTH PLAIN AGEAYg==\r\n" + Q,
    "STARTTLS": L + "STARTTLS\r\n" + Q,
    "an unknown command": L + "FOO\r\n" + Q,
    "an empty line": L + "\r\n" + Q,
    "a space in front": L + " NOOP\r\n" + Q,
    "a long command": L + "NOOP " + "x" * 5000 + "\r\n" + Q,
    "lower case": (L + M + R).lower() + "data\r\n" + X + ".\r\nquit\r\n",
    "no brackets": L + "MAIL FROM:s@example.org\r\n" + Q,
    "a space behind the colon": L + "MAIL FROM: <s@example.org>\r\n" + "RCPT TO: <a@example.org>\r\n" + Q,
    "no domain": L + M + "RCPT TO:<a>\r\n" + Q,
    "an empty recipient": L + M + "RCPT TO:<>\r\n" + Q,
    "an empty local part": L + M + 'RCPT TO:<""@example.org>\r\n' + Q,
    "a source route": L + M + "RCPT TO:<@relay.example:a@example.org>\r\n" + Q,
    "an unknown parameter": L + "MAIL FROM:<s@example.org> FOO=bar\r\n" + Q,
    "SIZE": L + "MAIL FROM:<s@example.org> SIZE=100\r\n" + Q,
    "a bad SIZE": L + "MAIL FROM:<s@example.org> SIZE=x\r\n" + Q,
    "BODY=8BITMIME": L + "MAIL FROM:<s@example.org> BODY=8BITMIME\r\n" + Q,
    "a bad BODY": L + "MAIL FROM:<s@example.org> BODY=x\r\n" + Q,
    "BINARYMIME and DATA": L + "MAIL FROM:<s@example.org> BODY=BINARYMIME\r\n" + R + "DATA\r\n" + Q,
    "a parameter of RCPT": L + M + "RCPT TO:<a@example.org> FOO=bar\r\n" + Q,
    "ORCPT": L + M + "RCPT TO:<a@example.org> ORCPT=rfc822;b@example.org\r\n" + Q,
    "QUIT with an argument": L + "QUIT now\r\n" + Q,
    "RSET with an argument": L + "RSET now\r\n" + Q,
    "DATA with an argument": ALL + "DATA now\r\n" + Q,
    "a bad BDAT": ALL + "BDAT x\r\n" + Q,
    "eleven bad commands": L + "FOO\r\n" * 11 + Q,
    "XCLIENT": L + "XCLIENT ADDR=192.0.2.1\r\n" + Q,
    "UTF-8 without SMTPUTF8": L + M + "RCPT TO:<jürgen@example.org>\r\n" + Q,
    "UTF-8 with SMTPUTF8": L + "MAIL FROM:<s@example.org> SMTPUTF8\r\nRCPT TO:<jürgen@example.org>\r\n" + Q,
    "a NUL in a command": L + "NOOP \0\r\n" + Q,
    "a tab for a space": L + "MAIL\tFROM:<s@example.org>\r\n" + Q,
    "spaces at the end": L + "NOOP   \r\nMAIL FROM:<s@example.org>  \r\n" + Q,
    "a parameter of DSN": L + M + "RCPT TO:<a@example.org> NOTIFY=NEVER\r\n" + Q,
    "parameters of DSN": L + "MAIL FROM:<s@example.org> RET=HDRS ENVID=x\r\n" + Q,
    "AUTH=<>": L + "MAIL FROM:<s@example.org> AUTH=<>\r\n" + Q,
    "VRFY without an argument": L + "VRFY\r\n" + Q,
    "MAIL without an argument": L + "MAIL\r\n" + Q,
    "RCPT without an argument": L + M + "RCPT\r\n" + Q,
    "RCPT for MAIL": L + "MAIL TO:<s@example.org>\r\n" + Q,
    "behind QUIT": L + Q + "NOOP\r\n",
    "an address without an at sign's left side": L + M + "RCPT TO:<@example.org>\r\n" + Q,
    "two at signs": L + M + "RCPT TO:<a@b@example.org>\r\n" + Q,
    "a quoted recipient": L + M + 'RCPT TO:<"a b"@example.org>\r\n' + Q,
    "a domain literal": L + M + "RCPT TO:<a@[127.0.0.1]>\r\n" + Q,
    "a bad domain literal": L + M + "RCPT TO:<a@[300.0.0.1]>\r\n" + Q,
    "a domain that ends in a dot": L + M + "RCPT TO:<a@example.org.>\r\n" + Q,
    "an underscore in the domain": L + M + "RCPT TO:<a@ex_ample.org>\r\n" + Q,
    "a local part that ends in a dot": L + M + "RCPT TO:<a.@example.org>\r\n" + Q,
    "a long line in a message": ALL + "DATA\r\n" + "x" * 5000 + "\r\n.\r\n" + Q,
    "a message of header lines only": ALL + "DATA\r\nSubject: x\r\n.\r\n" + Q,
    "8-bit in a message": ALL + "DATA\r\nSubject: x\r\n\r\nü\r\n.\r\n" + Q,
    "a NUL in a message": ALL + "DATA\r\nSubject: x\r\n\r\nx\0y\r\n.\r\n" + Q,
    "DATA amid BDAT": ALL + "BDAT 3\r\nabcDATA\r\nRSET\r\n" + Q,
    "RCPT amid BDAT": ALL + "BDAT 3\r\nabc" + R + "RSET\r\n" + Q,
    "MAIL amid BDAT": ALL + "BDAT 3\r\nabc" + M + "RSET\r\n" + Q,
    "NOOP amid BDAT": ALL + "BDAT 3\r\nabcNOOP\r\nBDAT 2 LAST\r\n\r\n" + Q,
    "RSET amid BDAT": ALL + "BDAT 3\r\nabcRSET\r\nBDAT 2 LAST\r\n\r\n" + Q,
    "BDAT LAST twice": ALL + "BDAT 3 LAST\r\nabcBDAT 3 LAST\r\nabc" + Q,
    "BDAT with something behind LAST": ALL + "BDAT 3 LAST x\r\nabc" + Q,
    "an empty BDAT": ALL + "BDAT 0 LAST\r\n" + Q,
    "a second message on one envelope": ALL + "DATA\r\n" + X + ".\r\nDATA\r\n" + Q,
    "ten recipients": ALL
    + "".join(f"RCPT TO:<r{n}@example.org>\r\n" for n in range(9))
    + "DATA\r\n"
    + X
    + ".\r\n"
    + Q,
    "a path of 300 octets": L + M + f"RCPT TO:<a@{'x.' * 149}org>\r\n" + Q,
    "a local part of 100 octets": L + M + f"RCPT TO:<{'x' * 100}@example.org>\r\n" + Q,
    "LHLO with a space in the name": "LHLO a b\r\n" + Q,
    "LHLO with an address literal": "LHLO [192.0.2.1]\r\n" + Q,
    "LHLO with a bad name": "LHLO a/b\r\n" + Q,
    "bare LF": L + "NOOP\nNOOP\r\n" + Q,
    "bare LF around a dot": ALL + "DATA\r\nx\n.\nRSET\r\n.\r\n" + Q,
}

# name: (Dovecot's classes, ours, why)
DIFFERENCES = {
    "two deliveries": (
        "22223222322",
        "22223222342",
        "the same octets again before the first reply can have been read are a retry of what is under way",
    ),
    "MAIL before LHLO": ("222", "252", "RFC 2033 4.1: a session begins with LHLO"),
    "BDAT LAST before RCPT": ("22252", "2222", "RFC 2033 4.3: behind the last chunk a reply per recipient"),
    "HELP": ("2252", "2222", "Dovecot does not know HELP"),
    "no domain": ("22222", "22252", "RFC 5321 4.1.2: a path has a domain, but for postmaster's"),
    "an empty local part": ("22222", "22252", "nobody's name is empty; Dovecot accepts whoever is asked for"),
    "SIZE": ("2252", "2222", "Dovecot's LMTP does not offer SIZE (RFC 1870)"),
    "BINARYMIME and DATA": ("225552", "222252", "Dovecot's LMTP does not offer BINARYMIME (RFC 3030)"),
    "a bad BDAT": ("222252", "22225", "where the chunk ends is unknown, so nothing behind it can be read"),
    "UTF-8 with SMTPUTF8": ("22552", "22222", "Dovecot's LMTP does not offer SMTPUTF8 (RFC 6531)"),
    "AUTH=<>": ("2252", "2222", "RFC 4954 5: what a relay passes on; refusing it would bounce the mail"),
    "a quoted recipient": ("22252", "22222", "RFC 5321 4.1.2: a legal name, and a directory can have it"),
    "a domain literal": ("22252", "22222", "RFC 5321 4.1.3: a legal domain, and a directory can have it"),
    "RCPT amid BDAT": ("22222222", "22222522", "RFC 3030 2: the envelope is over when chunks begin"),
    "BDAT with something behind LAST": ("222252", "22225", "as with any BDAT that cannot be read"),
    "a path of 300 octets": ("22222", "22252", "RFC 5321 4.5.3.1.2: a domain has 255 octets at most"),
    "LHLO with a space in the name": ("222", "252", "RFC 5321 4.1.1.1: one name"),
    "bare LF": ("22222", "2252", "RFC 5321 2.3.8: only CRLF ends a line"),
    "bare LF around a dot": ("222232252", "2222322", "RFC 5321 4.1.1.4: only CRLF.CRLF ends a message"),
}


class Pair:
    """Both servers."""

    def __init__(self, theirs: str, ours: str) -> None:
        self.theirs = theirs
        self.ours = ours


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    need("root", "dovecot")
    with public_folder("like") as folder:
        (folder / "dovecot-mail").mkdir()
        (folder / "dovecot-mail").chmod(0o777)
        with dovecots.dovecot(folder / "dovecot-mail") as theirs, Server(folder) as ours:
            yield Pair(f"unix:{theirs.lmtp_socket}", ours.addresses[0])


def classes(address: str, dialogue: str) -> str:
    """Say it all at once; return the class of each reply, in order, and "." for the end of the stream."""
    with LmtpClient.connect(address, timeout_s=20) as client:
        client.send(dialogue.encode())
        said = client.rest()
    codes = re.findall(rb"^([2-5])[0-9]{2}(?: .*)?\r\n", said, re.MULTILINE)
    return b"".join(codes).decode()


@pytest.mark.parametrize("name", DIALOGUES)
def test_a_dialogue(pair: Pair, name: str):
    theirs, ours = classes(pair.theirs, DIALOGUES[name]), classes(pair.ours, DIALOGUES[name])

    expected = DIFFERENCES.get(name)
    if expected is None:
        assert theirs == ours
    else:
        assert (theirs, ours) == expected[:2], expected[2]
        assert theirs != ours, "the entry in the table is not needed any more"


# What is said alike whatever was said before, so that any sequence must be; # is a number of its own.
NEXT = "RSET\r\n" + M + R
PIECES = (
    *(L, M, R, "MAIL FROM:<>\r\n", "RCPT TO:<b@example.org>\r\n", "RCPT TO:<@>\r\n", "RSET\r\n", "NOOP\r\n"),
    *("VRFY a\r\n", "FOO\r\n", "rset\r\n", "DATA x\r\n", "RCPT TO:<a@example.org> BAR\r\n"),
    "MAIL FROM:<s@example.org> FOO=bar\r\n",
    NEXT + "DATA\r\nSubject: #\r\n\r\nx\r\n.\r\n",
    NEXT + "BDAT 15 LAST\r\nSubject: #\r\n",
)


@pytest.mark.parametrize("seed", range(2_000 if os.environ.get("SOAK") == "1" else 60))
def test_any_dialogue(pair: Pair, seed: int):
    choose = random.Random(seed)
    said = [choose.choice(PIECES) for _ in range(choose.randint(2, 12))]
    numbers = itertools.count(1000)
    dialogue = re.sub("#", lambda _: str(next(numbers)), ALL + "".join(said)) + Q

    theirs, ours = classes(pair.theirs, dialogue), classes(pair.ours, dialogue)

    assert theirs == ours, dialogue


def test_the_table_has_no_entry_too_many():
    assert DIFFERENCES.keys() <= DIALOGUES.keys()
