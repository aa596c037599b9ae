import logging
import ssl
from pathlib import Path

import pytest
import trustme

from shared.errors import SettingsError
from shared.http.tls import Certificate, TlsOptions
from shared.runtime.certificates import expiry


def issue(authority: trustme.CA, folder: Path, name: str = "localhost") -> TlsOptions:
    issued = authority.issue_cert(name)
    options = TlsOptions(cert_file=folder / "tls.crt", key_file=folder / "tls.key")
    options.cert_file.write_bytes(b"".join(pem.bytes() for pem in issued.cert_chain_pems))
    options.key_file.write_bytes(issued.private_key_pem.bytes())
    return options


def handshake(server: ssl.SSLContext, authority: trustme.CA, **limits: ssl.TLSVersion) -> ssl.SSLObject:
    """Shake hands in memory and return the client's end."""
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    for name, version in limits.items():
        setattr(trusting, name, version)
    return both_ends(server, trusting)[0]


def both_ends(server: ssl.SSLContext, trusting: ssl.SSLContext) -> tuple[ssl.SSLObject, ssl.SSLObject]:
    """Shake hands in memory and return the ends of the client and the server."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client_end = trusting.wrap_bio(to_client, to_server, server_hostname="localhost")
    server_end = server.wrap_bio(to_server, to_client, server_side=True)
    waiting = [client_end, server_end]
    while waiting:
        for end in list(waiting):
            try:
                end.do_handshake()
                waiting.remove(end)
            except ssl.SSLWantReadError:
                pass
    return client_end, server_end


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def serial(end: ssl.SSLObject) -> object:
    found = end.getpeercert()
    assert found is not None
    return found["serialNumber"]


def test_speaks_tls_1_2_and_1_3_only(authority: trustme.CA, tmp_path: Path) -> None:
    context = Certificate(issue(authority, tmp_path)).context
    assert handshake(context, authority).version() == "TLSv1.3"
    assert handshake(context, authority, maximum_version=ssl.TLSVersion.TLSv1_2).version() == "TLSv1.2"
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2


def test_a_renewed_certificate_is_shown_to_the_next_connection(authority: trustme.CA, tmp_path: Path) -> None:
    certificate = Certificate(issue(authority, tmp_path))
    before = serial(handshake(certificate.context, authority))
    certificate.reload()
    assert serial(handshake(certificate.context, authority)) == before
    assert certificate.expires_at == expiry(tmp_path / "tls.crt")
    certificate.expires_at = None
    issue(authority, tmp_path)
    certificate.reload()
    assert certificate.expires_at == expiry(tmp_path / "tls.crt")
    assert serial(handshake(certificate.context, authority)) != before


def test_an_unchanged_certificate_is_loaded_again_on_request(authority: trustme.CA, tmp_path: Path) -> None:
    certificate = Certificate(issue(authority, tmp_path))
    assert not certificate.reload()
    assert certificate.reload(unchanged=True)


def test_follows_a_symbolic_link_that_is_replaced(authority: trustme.CA, tmp_path: Path) -> None:
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
        issue(authority, tmp_path / name)
    (tmp_path / "now").symlink_to("old")
    certificate = Certificate(TlsOptions(cert_file=tmp_path / "now/tls.crt", key_file=tmp_path / "now/tls.key"))
    before = serial(handshake(certificate.context, authority))
    (tmp_path / "next").symlink_to("new")
    (tmp_path / "next").rename(tmp_path / "now")
    certificate.reload()
    assert serial(handshake(certificate.context, authority)) != before


def test_a_pair_that_does_not_match_is_not_used(
    authority: trustme.CA, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    options = issue(authority, tmp_path)
    certificate = Certificate(options)
    before = serial(handshake(certificate.context, authority))
    for broken in (b"garbage", authority.issue_cert("localhost").private_key_pem.bytes()):
        options.key_file.write_bytes(broken)
        caplog.clear()
        certificate.reload()
        certificate.reload()
        assert serial(handshake(certificate.context, authority)) == before
        (line,) = [record for record in caplog.records if record.levelno == logging.WARNING]
        assert line.getMessage() == "changed certificate is not used"
        assert str(options.key_file) in vars(line)["error"]
    options.key_file.unlink()
    certificate.reload()
    assert serial(handshake(certificate.context, authority)) == before


@pytest.mark.parametrize("missing", ["tls.crt", "tls.key"])
def test_a_file_that_is_missing_is_named(authority: trustme.CA, tmp_path: Path, missing: str) -> None:
    options = issue(authority, tmp_path)
    (tmp_path / missing).unlink()
    with pytest.raises(SettingsError, match=r"tls\.crt, key .*tls\.key: No such file"):
        Certificate(options)


def test_an_encrypted_key_without_its_password_does_not_ask_at_the_terminal(
    authority: trustme.CA, tmp_path: Path
) -> None:
    options = issue(authority, tmp_path)
    options.key_file.write_text("-----BEGIN ENCRYPTED PRIVATE KEY-----\nMFc=\n-----END ENCRYPTED PRIVATE KEY-----\n")
    with pytest.raises(SettingsError, match=r"tls\.key: "):
        Certificate(options)


def test_client_certificates_are_asked_for_and_their_authorities_renewed(authority: trustme.CA, tmp_path: Path) -> None:
    another = trustme.CA()
    options = issue(authority, tmp_path).model_copy(update={"client_ca_file": tmp_path / "ca.pem"})
    (tmp_path / "ca.pem").write_bytes(authority.cert_pem.bytes())
    certificate = Certificate(options)
    assert client_names(certificate.context, authority, None) is None
    assert client_names(certificate.context, authority, authority) == "shop.example.com"
    with pytest.raises(ssl.SSLError, match="CERTIFICATE_VERIFY_FAILED"):
        client_names(certificate.context, authority, another)
    (tmp_path / "ca.pem").write_bytes(another.cert_pem.bytes())
    assert certificate.reload()
    assert client_names(certificate.context, authority, another) == "shop.example.com"
    with pytest.raises(ssl.SSLError, match="CERTIFICATE_VERIFY_FAILED"):
        client_names(certificate.context, authority, authority)


def client_names(server: ssl.SSLContext, authority: trustme.CA, issuer: trustme.CA | None) -> object:
    """Shake hands with a certificate of an issuer; return the name in it that the server's end sees."""
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    if issuer is not None:
        issuer.issue_cert("shop.example.com").configure_cert(trusting)
    _, server_end = both_ends(server, trusting)
    found = server_end.getpeercert()
    return dict(found["subjectAltName"])["DNS"] if found else None  # type: ignore[arg-type]


@pytest.mark.parametrize("content", [None, "nothing"])
def test_authorities_that_cannot_be_loaded_are_named(
    authority: trustme.CA, tmp_path: Path, content: str | None
) -> None:
    options = issue(authority, tmp_path).model_copy(update={"client_ca_file": tmp_path / "ca.pem"})
    if content is not None:
        (tmp_path / "ca.pem").write_text(content)
    with pytest.raises(SettingsError, match=r"client_ca_file .*ca\.pem: expected a PEM file"):
        Certificate(options)
