"""When a certificate expires."""

import ssl

# The standard library decodes a certificate only as that of a peer, after a handshake; this function of its own tests
# decodes a file.
from _ssl import _test_decode_cert  # type: ignore[attr-defined]
from pathlib import Path


def expiry(cert_file: Path) -> float | None:
    """Return when the first certificate of a PEM file expires, in seconds since 1970; None if there is none."""
    try:
        found = _test_decode_cert(str(cert_file))
    except (OSError, ValueError):
        return None
    return float(ssl.cert_time_to_seconds(str(found["notAfter"])))
