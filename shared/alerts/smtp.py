"""The mail server: the only place that knows aiosmtplib."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import aiosmtplib

from shared.alerts.options import SmtpOptions
from shared.errors import Malformed, SettingsError, Unauthorized, Unavailable

_PERMANENT = 500
"""SMTP answers from here on are for good (RFC 5321, 4.2.1)."""


class MailServer:
    """Takes mails, each over a connection of its own: alerts are rare."""

    def __init__(self, options: SmtpOptions) -> None:
        """Read whom to trust, from files: leave it to a thread.

        Raises:
            SettingsError: the file of authorities cannot be used.
        """
        self._options = options
        self._context = None if options.security == "none" else _trust(options)

    async def send(self, sender: str, recipients: Sequence[str], mail: bytes) -> None:
        """Return once the server has taken the mail.

        Raises:
            Unavailable: the server does not answer, refuses for now, or refuses us or the addresses.
            Malformed: it will never take this mail, as it is.
        """
        async with self._connected() as client:
            await client.sendmail(sender, list(recipients), mail)

    async def probe(self) -> None:
        """Connect, log in and leave: whether mails could be sent.

        Raises:
            Unavailable: as for `send`.
        """
        async with self._connected() as client:
            await client.noop()

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[aiosmtplib.SMTP]:
        """Let no aiosmtplib name past this module."""
        options = self._options
        host, port = options.address
        where = f"mail server {host}:{port}"
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
                yield client
        except aiosmtplib.SMTPAuthenticationError as exc:
            raise Unauthorized(f"{where} refuses the user and the password ({exc.code})") from exc
        except aiosmtplib.SMTPDataError as exc:
            if exc.code >= _PERMANENT:
                raise Malformed(f"{where} refuses the mail: {exc.code} {exc.message}") from exc
            raise Unavailable(f"{where} refuses the mail for now: {exc.code} {exc.message}") from exc
        except aiosmtplib.SMTPRecipientsRefused as exc:
            whom = "; ".join(f"{one.recipient}: {one.code} {one.message}" for one in exc.recipients)
            raise Unavailable(f"{where} refuses the recipients: {whom}") from exc
        except (aiosmtplib.SMTPException, OSError, ValueError) as exc:
            # The library's own sentence repeats the address, and the number of the error.
            refused = isinstance(exc.__cause__, ConnectionRefusedError)
            said = "connection refused" if refused else str(exc) or type(exc).__name__
            raise Unavailable(f"{where}: {said}") from exc


async def probe(options: SmtpOptions) -> None:
    """Try whether a mail server could be used.

    Raises:
        Unavailable: as for `MailServer.send`.
        SettingsError: the file of authorities cannot be used.
    """
    server = await asyncio.to_thread(MailServer, options)
    await server.probe()


def _trust(options: SmtpOptions) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=options.ca)
    except (OSError, ValueError) as exc:
        reason = getattr(exc, "strerror", None) or exc
        raise SettingsError(f"alerts.smtp.ca: {options.ca} cannot be used: {reason}") from exc
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
