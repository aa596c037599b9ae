"""Names in the certificates of clients (mutual TLS). Sans-I/O."""

from collections.abc import Mapping
from typing import Any

_NAMES = frozenset({"DNS", "URI", "email"})
"""The kinds of subject alternative names that identify a client, as Python's ssl module calls them."""


def certificate_names(certificate: Mapping[str, Any] | None) -> frozenset[str]:
    """Return the names in a verified client certificate, in the form of `ssl.SSLSocket.getpeercert`."""
    if not certificate:
        return frozenset()
    names = frozenset(value for kind, value in certificate.get("subjectAltName", ()) if kind in _NAMES)
    if names:
        return names
    subject = [pair for part in certificate.get("subject", ()) for pair in part]
    return frozenset(value for kind, value in subject if kind == "commonName")
