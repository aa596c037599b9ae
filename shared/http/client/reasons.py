"""Why a request failed, in plain words."""

import re
import ssl

import aiohttp

from shared.errors import system_text
from shared.runtime.redaction import one_line

_SSL_NOISE = re.compile(r"^\[SSL[^]]*\] | \(_ssl\.c:\d+\)$")


def reason_of(error: Exception) -> str:
    """Return why a request failed, as one line; empty for an error without a text, such as a timeout.

    The text of aiohttp repeats the address, and mentions `ssl:default` where there is no TLS.
    """
    cause: BaseException = error
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        cause = error.certificate_error
    elif isinstance(error, aiohttp.ClientConnectorError):
        cause = error.os_error
    return one_line(_text(cause))


def _text(cause: BaseException) -> str:
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"the server's certificate is not trusted: {cause.verify_message}"
    if isinstance(cause, ssl.SSLError):  # its errno is OpenSSL's, not the system's
        # Python knows no reason for an error that is newer than itself: `[SSL] record layer failure (_ssl.c:1028)`.
        known = getattr(cause, "reason", None)
        text = known.replace("_", " ").lower() if known else _SSL_NOISE.sub("", cause.strerror or str(cause))
        return f"TLS handshake failed: {text}"
    return system_text(cause) or str(cause)
