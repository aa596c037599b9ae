"""TLS at the listener, with a certificate that may be renewed while we run."""

import asyncio
import logging
import ssl
from pathlib import Path

from pydantic import Field

from shared.clock import Clock
from shared.errors import SettingsError
from shared.settings import Options, RelativePath, Secret

logger = logging.getLogger(__name__)

# For TLS 1.2 only: forward secrecy and authenticated encryption. TLS 1.3 has no others.
_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"


class TlsOptions(Options):
    """Which certificate a listener shows."""

    certificate: RelativePath
    """PEM file: the certificate, then the chain up to the authority."""

    key: RelativePath
    """PEM file of the private key."""

    password: Secret | None = None
    """Of the private key, where it is encrypted."""

    reload_interval: float = Field(default=10.0, gt=0)
    """Seconds between looks at the two files. Kubernetes renews a mounted certificate in place."""


class Certificate:
    """The certificate of a listener, the newest one that could be loaded."""

    def __init__(self, options: TlsOptions) -> None:
        """Load it.

        Raises:
            SettingsError: a file is missing, is no PEM, or the key is of another certificate.
        """
        self._options = options
        self._seen = self._stamp()
        self._newest = self._load()
        # Every handshake is handed on to the newest context. A live context is never changed: loading a certificate
        # and its key are two steps, and a handshake between them would fail.
        self.context = _server_context()
        self.context.sni_callback = self._choose
        self._load_into(self.context)

    async def follow(self, clock: Clock) -> None:
        """Look at the files for ever, and load what has changed. A pair that does not fit is logged and not used."""
        while True:
            await clock.sleep(self._options.reload_interval)
            await asyncio.to_thread(self.reload)

    def reload(self, *, unchanged: bool = False) -> bool:
        """Load the files if they have changed since the last look, or even `unchanged`; return whether they were."""
        stamp = self._stamp()
        if stamp == self._seen and not unchanged:
            return False
        self._seen = stamp
        try:
            self._newest = self._load()
        except SettingsError as exc:
            logger.warning("changed certificate is not used", extra={"error": str(exc)})
            return False
        logger.info("certificate reloaded", extra={"certificate": str(self._options.certificate)})
        return True

    @property
    def name(self) -> str:
        """What logs call it."""
        return f"certificate {self._options.certificate}"

    def _load(self) -> ssl.SSLContext:
        context = _server_context()
        self._load_into(context)
        return context

    def _load_into(self, context: ssl.SSLContext) -> None:
        options = self._options
        # A function, for with None OpenSSL would ask at the terminal.
        password = options.password.get_secret_value() if options.password else ""
        try:
            context.load_cert_chain(options.certificate, options.key, lambda: password)
        except (OSError, ValueError) as exc:
            reason = getattr(exc, "reason", None) or getattr(exc, "strerror", None) or "not a certificate with its key"
            raise SettingsError(f"certificate {options.certificate}, key {options.key}: {reason}") from exc

    def _stamp(self) -> tuple[tuple[int, int, int] | None, ...]:
        return tuple(_identity(path) for path in (self._options.certificate, self._options.key))

    def _choose(self, connection: ssl.SSLObject, _server_name: str | None, _context: ssl.SSLContext) -> None:
        connection.context = self._newest


def _identity(path: Path) -> tuple[int, int, int] | None:
    # Through symbolic links: Kubernetes exchanges the folder that they point into.
    try:
        found = path.stat()
    except OSError:
        return None
    return (found.st_ino, found.st_mtime_ns, found.st_size)


def _server_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_CIPHERS)
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
    context.set_alpn_protocols(["http/1.1"])
    return context
