"""Signing keys in a folder: one file a key, whose name is the id of the key. A Secret of Kubernetes is mounted so."""

import asyncio
import logging
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from services.experience_api.registry.tokens import KEY_BYTES, SigningKey
from shared.errors import SettingsError
from shared.runtime.clock import Clock

logger = logging.getLogger(__name__)

_ID = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,31}")
"""Names that begin with a dot are those that Kubernetes and editors use for themselves."""
_LIMIT = 65_536
_INTERVAL = 10.0
"""Seconds between two looks into the folder."""


class KeyFolder:
    """The keys of a folder, as of the latest look that found them valid."""

    def __init__(self, path: Path) -> None:
        """Read them.

        Raises:
            SettingsError: the folder cannot be read, holds no key, or holds one that is too short.
        """
        self._path = path
        self.keys = self._read()
        """The one whose name comes last first: it is the newest."""
        self._problem: str | None = None

    async def follow(self, clock: Clock, on_change: Callable[[Sequence[SigningKey]], None]) -> None:
        """Read the folder whenever it has changed, until cancelled."""
        while True:
            await clock.sleep(_INTERVAL)
            await self.reload(on_change)

    async def reload(self, on_change: Callable[[Sequence[SigningKey]], None]) -> list[str]:
        """Read the folder again; return the names of what was loaded. Keys that cannot be used change nothing."""
        try:
            found = await asyncio.to_thread(self._read)
        except SettingsError as exc:
            if str(exc) != self._problem:  # once, not at each look
                self._problem = str(exc)
                logger.warning("changed signing keys are not used", extra={"error": str(exc)})
            return []
        self._problem = None
        if found == self.keys:
            return []
        self.keys = found
        on_change(found)
        logger.info("signing keys reloaded", extra={"key_ids": [key.id for key in found]})
        return [f"signing keys {self._path}"]

    def _read(self) -> tuple[SigningKey, ...]:
        try:
            files = [path for path in self._path.iterdir() if _ID.fullmatch(path.name) and path.is_file()]
            found = tuple(_key(path) for path in sorted(files, reverse=True))
        except OSError as exc:
            raise SettingsError(f"signing keys {exc.filename or self._path}: {exc.strerror}") from exc
        if not found:
            raise SettingsError(f"signing keys {self._path}: found no file with a key; expected one at least")
        return found


def _key(path: Path) -> SigningKey:
    with path.open("rb") as file:
        content = file.read(_LIMIT).rstrip(b"\r\n")
    if len(content) < KEY_BYTES:
        raise SettingsError(f"signing key {path}: found {len(content)} bytes; expected at least {KEY_BYTES}")
    return SigningKey(path.name, content)
