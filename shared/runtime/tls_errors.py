"""Explains why TLS did not come about: which certificate is at fault, and what to do. No I/O."""

import ssl

_MOST_CAUSES = 10


def certificate_problem(error: BaseException, prefix: str = "tls.") -> str | None:
    """Return which certificate made a connection fail, and what to do; None if none did.

    `prefix` begins the names of the settings `ca_file`, `cert_file` and `key_file`.
    """
    found: BaseException | None = error
    text = ""
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
        text += str(found).lower().replace("_", " ")
        found = found.__cause__ or found.__context__
    if "certificate required" in text:
        return f"the server says: certificate required; set `{prefix}cert_file` and `{prefix}key_file`"
    return None
