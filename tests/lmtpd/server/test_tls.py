"""Certificate and key."""

import os
import ssl

import pytest
import trustme

from lmtpd.config.schema import Tls
from lmtpd.server.errors import CannotStart
from lmtpd.server.tls import tls_context


@pytest.fixture
def files(tmp_path):
    issued = trustme.CA().issue_cert("localhost")
    issued.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    issued.private_key_pem.write_to_path(tmp_path / "key.pem")
    return Tls(cert=str(tmp_path / "cert.pem"), key=str(tmp_path / "key.pem"))


def test_without_configuration_there_is_none():
    assert tls_context(None) is None


def test_old_versions_are_not_offered(files):
    context = tls_context(files)

    assert context is not None
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2


@pytest.mark.parametrize("name", ["cert.pem", "key.pem"])
def test_a_missing_file_is_named(files, tmp_path, name):
    (tmp_path / name).unlink()

    with pytest.raises(CannotStart, match=name) as caught:
        tls_context(files)

    assert caught.value.code == os.EX_NOINPUT


def test_a_file_that_is_not_a_certificate_is_said_so(files, tmp_path):
    (tmp_path / "cert.pem").write_text("hello")

    with pytest.raises(CannotStart, match="not a certificate with its key") as caught:
        tls_context(files)

    assert caught.value.code == os.EX_CONFIG


def test_a_key_of_another_certificate_is_said_so(files, tmp_path):
    trustme.CA().issue_cert("localhost").private_key_pem.write_to_path(tmp_path / "key.pem")

    with pytest.raises(CannotStart, match="not a certificate with its key"):
        tls_context(files)
