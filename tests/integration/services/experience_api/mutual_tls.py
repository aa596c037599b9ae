"""A listener that asks for the certificates of clients, and clients that have some."""

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import trustme


def listener(authority: trustme.CA, folder: Path) -> dict[str, Path]:
    """Return the `tls` of a listener on the loopback that trusts the authority; its files are in the folder."""
    issued = authority.issue_cert("127.0.0.1")
    issued.cert_chain_pems[0].write_to_path(folder / "tls.crt")
    issued.private_key_pem.write_to_path(folder / "tls.key")
    authority.cert_pem.write_to_path(folder / "ca.pem")
    return {
        "cert_file": folder / "tls.crt",
        "key_file": folder / "tls.key",
        "client_ca_file": folder / "ca.pem",
    }


def trusting(
    server: trustme.CA, *names: str, issuer: trustme.CA | None = None, expired: bool = False
) -> ssl.SSLContext:
    """Return the context of a client, with a certificate for names if there are any."""
    until = datetime.now(UTC) - timedelta(days=1) if expired else None
    context = ssl.create_default_context()
    server.configure_trust(context)
    if names:
        (issuer or server).issue_cert(*names, not_after=until).configure_cert(context)
    return context
