"""The mail server; the only module that uses aiosmtplib."""

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import aiosmtplib

from shared.alerts.options import SmtpOptions
from shared.errors import Malformed, SettingsError, Unauthorized, Unavailable, system_reason

logger = logging.getLogger(__name__)

_PERMANENT = 500
"""SMTP reply codes from here on are permanent (RFC 5321, 4.2.1)."""


class MailServer:
    """Sends each mail over a connection of its own: alerts are rare."""

    def __init__(self, options: SmtpOptions) -> None:
        """Read the CA file: call it in a thread.

        Raises:
            SettingsError: the CA file is not usable.
        """
        self._options = options
        self._context = None if options.security == "none" else _tls_context(options)

    async def send(self, sender: str, recipients: Sequence[str], mail: bytes) -> None:
        """Return once the server has accepted the mail; recipients that it refuses are logged if it accepts others.

        Raises:
            Unavailable: the server does not answer, refuses temporarily, or refuses the user or all addresses.
            Malformed: the server refuses this mail permanently.
        """
        async with self._connected() as client:
            refused, _ = await client.sendmail(sender, list(recipients), mail)
        if refused:  # not repeated: the others would get it twice
            texts = [f"{recipient}: {code} {text}" for recipient, (code, text) in refused.items()]
            logger.warning("mail server refuses some recipients", extra={"component": "alerts", "errors": texts})

    async def probe(self) -> None:
        """Connect, log in and disconnect.

        Raises:
            Unavailable: as for `send`.
        """
        async with self._connected() as client:
            await client.noop()

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[aiosmtplib.SMTP]:
        """Connect; translate the errors of aiosmtplib."""
        options = self._options
        host, port = options.address
        server = f"mail server {host}:{port}"
        client = aiosmtplib.SMTP(
            hostname=host,
            port=port,
            timeout=options.timeout,
            use_tls=options.security == "tls",
            start_tls=options.security == "starttls",
            tls_context=self._context,
            username=options.user,
            password=None if options.password is None else options.password.get_secret_value(),
        )
        try:
            async with client:
                try:
                    yield client
                except asyncio.CancelledError:
                    client.close()  # a QUIT would wait for the server, which is what takes too long
                    raise
        except aiosmtplib.SMTPAuthenticationError as exc:
            raise Unauthorized(f"{server} refuses user and password ({exc.code})") from exc
        except aiosmtplib.SMTPDataError as exc:
            if exc.code >= _PERMANENT:
                raise Malformed(f"{server} refuses the mail: {exc.code} {exc.message}") from exc
            raise Unavailable(f"{server} refuses the mail temporarily: {exc.code} {exc.message}") from exc
        except aiosmtplib.SMTPRecipientsRefused as exc:
            refused = "; ".join(f"{one.recipient}: {one.code} {one.message}" for one in exc.recipients)
            raise Unavailable(f"{server} refuses the recipients: {refused}") from exc
        except (aiosmtplib.SMTPException, OSError, ValueError) as exc:
            # The text of the library repeats the address and the error number.
            text = system_reason(exc.__cause__) or system_reason(exc) or str(exc) or type(exc).__name__
            raise Unavailable(f"{server}: {text}") from exc


async def probe(options: SmtpOptions) -> None:
    """Check that a mail server is usable.

    Raises:
        Unavailable: as for `MailServer.send`.
        SettingsError: the CA file is not usable.
    """
    server = await asyncio.to_thread(MailServer, options)
    await server.probe()


def _tls_context(options: SmtpOptions) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=options.ca_file)
    except (OSError, ValueError) as exc:
        reason = getattr(exc, "strerror", None) or exc
        raise SettingsError(f"alerts.smtp.ca_file: {options.ca_file} is not a usable CA bundle: {reason}") from exc
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
