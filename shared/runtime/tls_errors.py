"""Explains why TLS did not come about: which certificate is at fault, and what to do. No I/O."""

import ssl

from shared.errors import causes, underlying_reason


def certificate_problem(error: BaseException, prefix: str = "tls.", *, anonymous: bool = False) -> str | None:
    """Return which certificate made a connection fail, and what to do; None if none did.

    `prefix` begins the names of the settings `ca_file`, `cert_file` and `key_file`. `anonymous` says that the client
    uses TLS without a certificate: then a lost connection may mean that the server requires one, since with TLS 1.3 it
    says so after the handshake, and a reset can overtake its alert.
    """
    text, lost = "", False
    for found in causes(error):
        # That of aiohttp has the type and not the attribute; its cause has both.
        reason = getattr(found, "verify_message", "")
        if isinstance(found, ssl.SSLCertVerificationError) and reason:
            return (
                f"the certificate of the server is not accepted: {reason.rstrip('.')}; connect to a name"
                f" in it, and set `{prefix}ca_file` to its authority"
            )
        lost = lost or isinstance(found, ConnectionResetError | BrokenPipeError)
        text += str(found).lower().replace("_", " ")
    if "wrong version number" in text:
        return "the server answers without TLS; connect to its port for TLS, or without TLS"
    if "certificate required" in text:
        return f"the server says: certificate required; set `{prefix}cert_file` and `{prefix}key_file`"
    if anonymous and (lost or "connection lost" in text or "reset by peer" in text):
        reason = underlying_reason(error) or str(error) or type(error).__name__
        return f"{reason}; if the server requires a client certificate, set `{prefix}cert_file` and `{prefix}key_file`"
    return None
