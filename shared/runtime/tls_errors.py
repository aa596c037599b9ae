"""Explains why TLS did not come about: which certificate is at fault, and what to do. No I/O."""

import ssl

_MOST_CAUSES = 10


def certificate_problem(error: BaseException, prefix: str = "tls.", *, anonymous: bool = False) -> str | None:
    """Return which certificate made a connection fail, and what to do; None if none did.

    `prefix` begins the names of the settings `ca_file`, `cert_file` and `key_file`. `anonymous` says that the client
    uses TLS without a certificate: then a lost connection may mean that the server requires one, since with TLS 1.3 it
    says so after the handshake, and a reset can overtake its alert.
    """
    found: BaseException | None = error
    text, lost = "", False
    for _ in range(_MOST_CAUSES):
        if found is None:
            break
        # That of aiohttp has the type and not the attribute; its cause has both.
        reason = getattr(found, "verify_message", "")
        if isinstance(found, ssl.SSLCertVerificationError) and reason:
            return (
                f"the certificate of the server is not accepted: {reason.rstrip('.')}; connect to a name"
                f" in it, and set `{prefix}ca_file` to its authority"
            )
        lost = lost or isinstance(found, ConnectionResetError | BrokenPipeError)
        text += str(found).lower().replace("_", " ")
        found = found.__cause__ or found.__context__
    if "certificate required" in text:
        return f"the server says: certificate required; set `{prefix}cert_file` and `{prefix}key_file`"
    if anonymous and (lost or "connection lost" in text or "reset by peer" in text):
        return (
            f"{str(error) or type(error).__name__}; if the server requires a client certificate, set"
            f" `{prefix}cert_file` and `{prefix}key_file`"
        )
    return None
