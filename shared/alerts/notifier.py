"""Chats, pagers and webhooks, through Apprise; the only module that uses it."""

import asyncio
from collections.abc import Sequence
from email import message_from_bytes
from email.policy import SMTP
from typing import Any

from pydantic import SecretStr

from shared.errors import SettingsError, Unavailable
from shared.runtime.extras import extra


class Notifier:
    """Sends what would be a mail to one service. It has the methods of `MailServer`."""

    def __init__(self, url: SecretStr, place: str) -> None:
        """`url` is one of Apprise, and contains the secrets of the service; `place` is its setting. Reads files.

        Raises:
            SettingsError: Apprise is not installed, or does not know the URL.
        """
        with extra("notify", place):
            import apprise  # noqa: PLC0415 -- it takes half a second, and is optional
        text = url.get_secret_value()
        service: Any = apprise.Apprise.instantiate(text, suppress_exceptions=True)
        if service is None:
            raise SettingsError(
                f"{place}: found a URL that Apprise does not know; expected one such as"
                " 'slack://TokenA/TokenB/TokenC/#channel'"
            )
        self._service = service
        self._types = (apprise.NotifyType.FAILURE, apprise.NotifyType.SUCCESS)
        self.name = text.partition("://")[0].lower()
        """The kind of service, which is no secret."""

    async def send(self, sender: str, recipients: Sequence[str], mail: bytes) -> None:  # noqa: ARG002 -- of mails alone
        """Return once the service has accepted the subject and the text of a mail.

        Raises:
            Unavailable: the service does not answer, or refuses. Apprise does not tell which.
        """
        message = message_from_bytes(mail, policy=SMTP)
        title = str(message["Subject"])
        content: str = message.get_content()
        kind = self._types["] resolved: " in title]
        try:
            # A thread, because Apprise blocks; it has a timeout of its own.
            accepted = await asyncio.to_thread(self._service.notify, body=content, title=title, notify_type=kind)
        except Exception as exc:
            # A plugin may raise anything. Its text may hold the URL, which is a secret.
            raise Unavailable(f"{self.name} could not be notified: {type(exc).__name__}") from exc
        if not accepted:
            raise Unavailable(f"{self.name} did not accept the notification; the log lines of apprise may tell why")

    async def probe(self) -> None:
        """Do nothing: a service can be probed by a notification only."""
