"""TLS at the listener, with a certificate that can be renewed while the service runs."""

import asyncio
import logging
import ssl
from pathlib import Path

from pydantic import Field

from shared.errors import SettingsError
from shared.runtime.certificates import expiry
from shared.runtime.clock import Clock
from shared.runtime.files import stamp
from shared.settings import Options, RelativePath, Secret

logger = logging.getLogger(__name__)

# For TLS 1.2 only: forward secrecy and authenticated encryption. TLS 1.3 has no others.
_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"


class TlsOptions(Options):
    """The certificate of a listener."""

    cert_file: RelativePath
    """PEM file: the certificate, then the chain up to the authority."""

    key_file: RelativePath
    """PEM file of the private key."""

    key_password: Secret | None = None
    """The password of the private key, if it is encrypted."""

    client_ca_file: RelativePath | None = None
    """PEM file of the authorities of client certificates. With it the listener asks each client for a certificate, and
    accepts those that send none; what a certificate permits is up to the endpoint. Browsers may ask their users."""

    reload_interval: float = Field(default=10.0, gt=0)
    """Seconds between two checks whether the files have changed. Kubernetes renews a mounted certificate in place."""


class Certificate:
    """The certificate of a listener: the newest one that could be loaded."""

    def __init__(self, options: TlsOptions) -> None:
        """Load it.

        Raises:
            SettingsError: a file is missing, is not PEM, or the key belongs to another certificate.
        """
        self._options = options
        self.cert_file = options.cert_file
        self._files = (options.cert_file, options.key_file, options.client_ca_file)
        self._seen = stamp(self._files)
        self._newest = self._load()
        self.expires_at = expiry(options.cert_file)
        """Seconds since 1970; None if it cannot be read."""
        # Each handshake switches to the newest context. A context in use is never changed: a certificate and its key
        # are loaded in two steps, and a handshake between them would fail.
        self.context = _server_context()
        self.context.sni_callback = self._choose
        self._load_into(self.context)

    async def follow(self, clock: Clock) -> None:
        """Load the files whenever they change, until cancelled. A pair that does not match is logged and not used."""
        while True:
            await clock.sleep(self._options.reload_interval)
            await asyncio.to_thread(self.reload)

    def reload(self, *, unchanged: bool = False) -> bool:
        """Load the files if they have changed since the last call, or even if `unchanged`; return whether that worked.

        False as well if there was nothing to load.
        """
        found = stamp(self._files)
        if found == self._seen and not unchanged:
            return False
        self._seen = found
        try:
            self._newest = self._load()
        except SettingsError as exc:
            logger.warning("changed certificate is not used", extra={"error": str(exc)})
            return False
        self.expires_at = expiry(self._options.cert_file)
        logger.info("certificate reloaded", extra={"certificate": str(self._options.cert_file)})
        return True

    @property
    def name(self) -> str:
        """What logs call it."""
        return f"certificate {self._options.cert_file}"

    def _load(self) -> ssl.SSLContext:
        context = _server_context()
        self._load_into(context)
        return context

    def _load_into(self, context: ssl.SSLContext) -> None:
        options = self._options
        # A function, because OpenSSL would otherwise prompt at the terminal.
        password = options.key_password.get_secret_value() if options.key_password else ""
        try:
            context.load_cert_chain(options.cert_file, options.key_file, lambda: password)
        except (OSError, ValueError) as exc:
            reason = getattr(exc, "reason", None) or getattr(exc, "strerror", None) or "not a certificate with its key"
            raise SettingsError(f"certificate {options.cert_file}, key {options.key_file}: {reason}") from exc
        if options.client_ca_file is not None:
            _ask_for_certificates(context, options.client_ca_file)

    def _choose(self, connection: ssl.SSLObject, _server_name: str | None, _context: ssl.SSLContext) -> None:
        connection.context = self._newest


def _ask_for_certificates(context: ssl.SSLContext, authorities: Path) -> None:
    try:
        context.load_verify_locations(authorities)
    except (OSError, ValueError) as exc:
        raise SettingsError(f"client_ca_file {authorities}: expected a PEM file of certificate authorities") from exc
    context.verify_mode = ssl.CERT_OPTIONAL
    # A session that is resumed keeps the certificate that it began with, whatever the authorities are by then.
    context.options |= ssl.OP_NO_TICKET
    context.num_tickets = 0


def _server_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_CIPHERS)
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
    context.set_alpn_protocols(["http/1.1"])
    return context
