"""A mail server that keeps its mails, and on request refuses, delays or stops."""

import asyncio
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from pathlib import Path

import trustme
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from services.standalone.embedded.process import free_port


@dataclass(frozen=True, slots=True)
class Mail:
    """One mail as it was received."""

    sender: str
    recipients: tuple[str, ...]
    message: EmailMessage
    encrypted: bool
    """Whether it came after STARTTLS."""
    user: str | None
    """Who had logged in."""


class MailServer:
    """An SMTP server on the loopback, in a thread of its own.

    Set `refuse_with` to an SMTP answer such as `451 later` to get it instead of mails; clear `answering` to leave
    senders waiting until it is set again. `unknown` are the recipients that it refuses.
    """

    host = "127.0.0.1"

    def __init__(self, *, login: tuple[str, str] | None = None, tls: ssl.SSLContext | None = None) -> None:
        self.port = free_port()
        self.refuse_with: str | None = None
        self.unknown: set[str] = set()
        self.answering = threading.Event()
        self.answering.set()
        self.asked = threading.Event()
        """Set once a mail has been handed over, whether or not it was answered."""
        self._login = login
        self._tls = tls
        self._mails: list[Mail] = []
        self._arrived = threading.Condition()
        self._controller: Controller | None = None

    @property
    def mails(self) -> list[Mail]:
        """What has come so far, oldest first."""
        with self._arrived:
            return list(self._mails)

    def wait_for(self, count: int, timeout: float = 60.0) -> list[Mail]:
        """Return the mails once there are `count`; fail the test if there are not in time."""
        with self._arrived:
            assert self._arrived.wait_for(lambda: len(self._mails) >= count, timeout), (
                f"{len(self._mails)} mails after {timeout:g} s, expected {count}"
            )
            return list(self._mails)

    async def expect(self, count: int, timeout: float = 60.0) -> list[Mail]:
        """`wait_for`, for tests that are coroutines."""
        return await asyncio.to_thread(self.wait_for, count, timeout)

    def up(self) -> None:
        """Listen; on the same port as before."""
        self._controller = Controller(
            self,
            hostname=self.host,
            port=self.port,
            authenticator=self._authenticate if self._login is not None else None,
            auth_required=self._login is not None,
            auth_require_tls=self._login is not None and self._tls is not None,
            tls_context=self._tls,
            require_starttls=self._tls is not None,
        )
        self._controller.start()

    def down(self) -> None:
        """Refuse connections, as a server that is away does; mails received are kept."""
        if self._controller is not None:
            self._controller.stop()
            self._controller = None

    async def handle_RCPT(  # noqa: N802 -- aiosmtpd's
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        """Take or refuse a recipient; called by aiosmtpd in its thread."""
        if address in self.unknown:
            return "550 unknown"
        envelope.rcpt_tos.append(address)
        envelope.rcpt_options.extend(options)
        return "250 known"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802 -- aiosmtpd's
        """Keep a mail; called by aiosmtpd in its thread."""
        self.asked.set()
        await asyncio.to_thread(self.answering.wait)
        if self.refuse_with is not None:
            return self.refuse_with
        # Lines end as in files, so that a test compares what was written with what is read.
        message = message_from_bytes((envelope.original_content or b"").replace(b"\r\n", b"\n"), policy=default)
        login: object = session.auth_data
        mail = Mail(
            sender=envelope.mail_from or "",
            recipients=tuple(envelope.rcpt_tos),
            message=message,
            encrypted=session.ssl is not None,
            user=login.login.decode() if isinstance(login, LoginPassword) else None,
        )
        with self._arrived:
            self._mails.append(mail)
            self._arrived.notify_all()
        return "250 kept"

    def _authenticate(
        self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: object
    ) -> AuthResult:
        known = isinstance(data, LoginPassword) and (data.login.decode(), data.password.decode()) == self._login
        return AuthResult(success=known, handled=False, auth_data=data if known else None)


@contextmanager
def smtp_server(*, login: tuple[str, str] | None = None, authority_file: Path | None = None) -> Iterator[MailServer]:
    """Run a mail server; with `authority_file` it requires STARTTLS, and writes its authority's certificate there."""
    tls = None
    if authority_file is not None:
        authority = trustme.CA()
        authority.cert_pem.write_to_path(str(authority_file))
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        authority.issue_cert(MailServer.host, "localhost").configure_cert(tls)
    server = MailServer(login=login, tls=tls)
    server.up()
    try:
        yield server
    finally:
        server.answering.set()
        server.down()
