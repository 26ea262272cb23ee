import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lmtpd.protocol.addresses import Address, AddressError, NonAsciiAddress, parse_path, split_detail

A_LABEL = "xn--bcher-kva.example"
LOCALS = st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), max_size=30)
LABELS = st.text("abz019_-", min_size=1, max_size=20)
DOMAINS = st.lists(LABELS, min_size=1, max_size=4).map(".".join)


def parsed(path: bytes, *, smtputf8: bool = True) -> Address | None:
    address, end = parse_path(path, smtputf8=smtputf8)
    assert end == len(path)
    return address


@pytest.mark.parametrize(
    "path, local, domain",
    [
        (b"<user@example.org>", "user", "example.org"),
        (b"<USER.Name@EXAMPLE.Org>", "USER.Name", "example.org"),
        (b"<user+detail@example.org>", "user+detail", "example.org"),
        (b"<!#$%&'*+-/=?^_`{|}~@example.org>", "!#$%&'*+-/=?^_`{|}~", "example.org"),
        (b"<u@localhost>", "u", "localhost"),
        (b"<u@foo_bar.-x-.example>", "u", "foo_bar.-x-.example"),
        # relaxed: what Postfix accepted must not bounce here
        *((f"<{local}@d>".encode(), local, "d") for local in (".", "..", ".a", "a.", "a..b", "../x", "/etc")),
        # 62: quoted and unquoted are the same mailbox
        (b'<"user"@example.org>', "user", "example.org"),
        (b'<"a b"@example.org>', "a b", "example.org"),
        (b'<"a\\"b"@example.org>', 'a"b', "example.org"),
        (b'<"\\a\\\\"@example.org>', "a\\", "example.org"),
        (b'<"@"@example.org>', "@", "example.org"),
        (b'<">"@example.org>', ">", "example.org"),
        (b'<""@example.org>', "", "example.org"),  # CVE-2020-10967
        (b'<"\\""@example.org>', '"', "example.org"),
        # 63: source routes
        (b"<@a,@b.example:user@example.org>", "user", "example.org"),
        (b'<@a:"x y"@example.org>', "x y", "example.org"),
        # 64: no domain
        (b"<Postmaster>", "Postmaster", ""),
        (b'<"a b">', "a b", ""),
        # 65: literals
        (b"<u@[192.0.2.1]>", "u", "[192.0.2.1]"),
        (b"<u@[IPv6:2001:DB8:0:0::1]>", "u", "[IPv6:2001:db8::1]"),
        (b"<u@[ipv6:::1]>", "u", "[IPv6:::1]"),
        # 66: UTF-8, U-labels and A-labels, no normalisation of the local part
        ("<bücher@bücher.example>".encode(), "bücher", A_LABEL),
        (f"<u@{A_LABEL.upper()}>".encode(), "u", A_LABEL),
        ("<u@BÜCHER.Example>".encode(), "u", A_LABEL),
        ("<u@bu\u0308cher.example>".encode(), "u", A_LABEL),
        ("<bu\u0308cher@d>".encode(), "bu\u0308cher", "d"),
        ("<u@bücher。example>".encode(), "u", A_LABEL),
        ('<"ü ü"@d>'.encode(), "ü ü", "d"),
    ],
)
def test_path_is_parsed(path, local, domain):
    assert parsed(path) == Address(local, domain)


def test_null_path_is_no_address():
    assert parse_path(b"<> SIZE=3", smtputf8=False) == (None, 2)


def test_what_follows_the_path_is_left_alone():
    assert parse_path(b"<a@b> SIZE=3>", smtputf8=False) == (Address("a", "b"), 5)


@pytest.mark.parametrize(
    "path",
    [
        *(b"", b"<", b"a@b", b"<a@b", b"a@b>", b"<@>", b"<@d>", b"<a@>", b"< a@b>", b"<a@b >", b"<a b@c>"),
        *(b"<a@@b>", b"<a@b@c>", b"<<a@b>>", b"<a,b@c>", b"<a;b@c>", b"<a:b@c>", b"<(a)b@c>", b"<[a]@b>"),
        *(b'<"a@b>', b'<"a"b@c>', b'<a"b"@c>', b'<"a\\"@b>', b'<"a".b@c>', b"<a\\b@c>", b'<">', b'<"\\">'),
        *(b"<a@b..c>", b"<a@.b>", b"<a@b.>", b"<a@b c>", b"<a@../x>", b"<a@b/c>", b"<a@b%c>"),
        *(b"<@a:>", b"<@:u@d>", b"<@a,b:u@d>", b"<@a@b:u@d>", b"<@a,:u@d>", b"<@a,@b>", b"<:u@d>"),
        *(b"<u@[192.0.2.256]>", b"<u@[192.0.2]>", b"<u@[192.0.2.1>", b"<u@192.0.2.1]>", b"<u@[]>"),
        *(b"<u@[IPv6:]>", b"<u@[IPv6:1]>", b"<u@[IPv6:fe80::1%eth0]>", b"<u@[2001:db8::1]>", b"<u@[x:y]>"),
        *(b"<u@" + b"a" * 64 + b".example>", b"<u@" + b"a." * 127 + b"aa>"),
        *("<a\x80b@c>".encode(), "<a\x9fb@c>".encode(), "<a\u2028b@c>".encode(), "<a\u2029b@c>".encode()),
        *(b"<\xff@c>", b"<\xc3@c>", b"<u@\xc3>", b"<u@\xff.example>", b"<@\x80:u@d>", b'<"\\\xc3\xbc"@c>'),
        # the mapping of international domains must not let in what the grammar keeps out
        *("<u@a／b>".encode(), "<u@a℀b>".encode(), "<u@。。>".encode(), "<u@ü。>".encode()),
        *("<u@ü＠b>".encode(), "<u@ü\u3000b>".encode(), ("<u@" + "ü" * 60 + ">").encode()),
        ("<u@" + ".".join(["ü"] * 64) + ">").encode(),
    ],
)
def test_malformed_path_is_refused(path):
    with pytest.raises(AddressError) as caught:
        parse_path(path, smtputf8=True)

    assert not isinstance(caught.value, NonAsciiAddress)
    assert str(caught.value).isascii()


@pytest.mark.parametrize("path", ["<bücher@d>", "<u@bücher.example>", '<"ü"@d>', "<@ü:u@d>"])
def test_non_ascii_path_needs_smtputf8(path):
    with pytest.raises(NonAsciiAddress):
        parse_path(path.encode(), smtputf8=False)


@pytest.mark.parametrize("octets, is_ok", [(62, True), (63, True), (64, False)])
def test_limit_of_a_label(octets, is_ok):
    path = b"<u@" + b"a" * octets + b".example>"

    if is_ok:
        parsed(path)
    else:
        with pytest.raises(AddressError):
            parsed(path)


@pytest.mark.parametrize("octets, is_ok", [(254, True), (255, True), (256, False)])
def test_limit_of_a_domain(octets, is_ok):
    path = b"<u@" + (b"abcdefg." * 32)[: octets - 1] + b"z>"

    if is_ok:
        parsed(path)
    else:
        with pytest.raises(AddressError):
            parsed(path)


def test_international_domain_may_not_grow_beyond_the_limit():
    domain = ".".join(["üx"] * 60)
    assert len(domain.encode()) <= 255 < len(domain.encode("idna"))

    with pytest.raises(AddressError):
        parsed(f"<u@{domain}>".encode())


@pytest.mark.parametrize("octets", [64, 65, 256, 4000])
def test_local_part_may_be_long(octets):
    # The least maximum is 64 (RFC 5321 4.5.3.1.1); whether such a mailbox exists is another question.
    address = parsed(b"<" + b"a" * octets + b"@d>")

    assert address == Address("a" * octets, "d")


@pytest.mark.parametrize(
    "path", [b"<%b@d>", b"<a%bb@d>", b'<"a%bb"@d>', b'<"a\\%bb"@d>', b"<a@d%b>", b"<@r%b:a@d>"]
)
def test_no_control_byte_gets_into_an_address(path):
    # CVE-2019-11500
    for byte in (*range(32), 127):
        with pytest.raises(AddressError):
            parse_path(path % bytes([byte]), smtputf8=True)


@pytest.mark.parametrize(
    "text",
    [
        b"<" + b"a" * 65536,
        b'<"' + b"a" * 65536,
        b'<"' + b"\\a" * 32768,
        b"<@" + b"a," * 32768,
        b"<@" + b",@".join([b"a"] * 32768) + b":",
        b"<u@" + b"a." * 32768,
        b"<u@" + b"a-" * 32768 + b"!",
        b"<u@[" + b"1." * 32768,
    ],
)
def test_long_garbage_is_refused_at_once(text):
    # Exponential or quadratic matching would not return within the life of this test.
    with pytest.raises(AddressError):
        parse_path(text, smtputf8=True)


@pytest.mark.parametrize("path", ["<ü@d>", '<"ü"@ü>', "<u@ü.example>", "<€@d>", "<😀@d>"])
def test_every_truncation_of_utf8_is_refused_or_parsed(path):
    # CVE-2020-7046: a truncated sequence at the end of a parameter
    wire = path.encode()
    for end in range(len(wire)):
        for text in (wire[:end], wire[:end] + b">", wire[:end] + b"@d>"):
            try:
                parse_path(text, smtputf8=True)
            except AddressError:
                continue


@given(st.binary(max_size=40))
def test_any_bytes_are_an_address_or_an_error(noise):
    for text in (noise, b"<" + noise + b">", b"<u@" + noise + b">", b'<"' + noise + b'"@d>'):
        try:
            address, end = parse_path(text, smtputf8=True)
        except AddressError:
            continue
        assert text[end - 1 : end] == b">"
        if address is not None:
            assert not re.search("[\x00-\x1f\x7f-\x9f\u2028\u2029]", str(address))
            assert re.fullmatch(r"[a-z0-9_.-]*|\[[0-9A-Za-z:.]+\]", address.domain)


@given(LOCALS, DOMAINS)
@example("", "d")
@example('"', "d")
@example("\\", "d")
@example(".", "d")
@example("a b", "d")
def test_address_as_text_parses_to_itself(local, domain):
    address = Address(local, domain)

    assert parsed(f"<{address}>".encode()) == address


@given(LOCALS)
def test_address_without_domain_parses_to_itself(local):
    assert parsed(f"<{Address(local, '')}>".encode()) == Address(local, "")


@pytest.mark.parametrize("literal", ["[192.0.2.1]", "[IPv6:2001:db8::1]"])
def test_address_with_a_literal_parses_to_itself(literal):
    assert parsed(f"<{Address('u', literal)}>".encode()) == Address("u", literal)


@pytest.mark.parametrize(
    "local, text",
    [
        ("user", "user@d"),
        ("a.b", "a.b@d"),
        ("a..b", '"a..b"@d'),
        (".a", '".a"@d'),
        ("", '""@d'),
        ("a b", '"a b"@d'),
        ('a"\\b', '"a\\"\\\\b"@d'),
        ("a@b", '"a@b"@d'),
        ("ü", "ü@d"),
    ],
)
def test_local_part_is_quoted_where_it_must_be(local, text):
    assert str(Address(local, "d")) == text


@pytest.mark.parametrize(
    "local, delimiters, split",
    [
        ("user", "+", ("user", None)),
        ("user+a", "+", ("user", "a")),
        ("user+a+b", "+", ("user", "a+b")),
        ("user+", "+", ("user", "")),
        ("+user", "+", ("+user", None)),
        ("+user+a", "+", ("+user+a", None)),
        ("+", "+", ("+", None)),
        ("", "+", ("", None)),
        ("user-a+b", "+-", ("user", "a+b")),
        ("user+a-b", "-+", ("user", "a-b")),
        ("user+a", "", ("user+a", None)),
    ],
)
def test_detail_is_split_as_postfix_does(local, delimiters, split):
    assert split_detail(local, delimiters) == split
