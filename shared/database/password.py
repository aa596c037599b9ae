"""The password of the database. One in a file can be changed while the service runs, without a lost connection.

The file and the server never change at the same moment. So the newest content of the file is tried first, and then the
password that the server has accepted before.
"""

import asyncio
import logging
import os

from pydantic import SecretStr

from shared.settings import FileSecret

logger = logging.getLogger(__name__)


class Password:
    """What to authenticate with, for all connections of one purpose."""

    def __init__(self, secret: SecretStr | None) -> None:
        """Without a secret, it is the environment variable PGPASSWORD, or empty."""
        # Never None: asyncpg would read files in the home folder each time, on the event loop.
        self._accepted = os.environ.get("PGPASSWORD", "") if secret is None else secret.get_secret_value()
        self._file = secret if isinstance(secret, FileSecret) else None
        self._problem: str | None = None

    async def candidates(self) -> list[str]:
        """Return the passwords to try, in turn: one or two."""
        if self._file is None:
            return [self._accepted]
        try:
            found = await asyncio.to_thread(self._file.read)
        except ValueError as exc:
            if str(exc) != self._problem:  # once, not for each connection
                self._problem = str(exc)
                logger.warning("changed database password is not used", extra={"error": str(exc)})
            return [self._accepted]
        self._problem = None
        return [found] if found == self._accepted else [found, self._accepted]

    def accept(self, password: str) -> None:
        """Keep a candidate that the server has accepted, for when the next one is refused."""
        if password != self._accepted:
            self._accepted = password
            logger.info("database password changed", extra={"component": "database"})
