"""What SIGHUP does: loads again what can change while a service runs, and logs what needs a restart.

reload = Reload()
reload.add(SettingsFile(settings, read, logs_of, apply).reload)
reload.add(service.reload)
run(main, reload=reload)
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from pydantic import BaseModel

from shared.errors import SettingsError
from shared.runtime.logs import LogOptions

logger = logging.getLogger(__name__)

Part = Callable[[], Awaitable[list[str]]]
"""Loads something again and returns the names of what it loaded. What cannot be used is logged, and the old stays."""

_LOGS = "logs"

Settings = TypeVar("Settings", bound=BaseModel)


class Reload:
    """Loads every part again, in the order in which they were added."""

    def __init__(self) -> None:
        self._parts: list[Part] = []

    def add(self, part: Part) -> None:
        """Load this as well, from now on."""
        self._parts.append(part)

    async def __call__(self) -> None:
        """Load every part again; a part that fails is logged, and the others are loaded."""
        loaded: list[str] = []
        for part in list(self._parts):
            try:
                loaded += await part()
            except Exception:
                logger.exception("reload failed")
        logger.info("reloaded", extra={"parts": loaded})


class SettingsFile(Generic[Settings]):
    """The settings file of a running process: of what changes in it, the log settings take effect."""

    def __init__(
        self,
        settings: Settings,
        read: Callable[[], Settings],
        logs_of: Callable[[Settings], LogOptions],
        apply: Callable[[LogOptions], None],
    ) -> None:
        """`settings` are those that the process was started with; `read` blocks, and raises `SettingsError`.

        `apply` lets log settings take effect.
        """
        self._settings = settings
        self._read = read
        self._logs_of = logs_of
        self._apply = apply
        self._logs = logs_of(settings)

    async def reload(self) -> list[str]:
        """Read the file, apply its log settings, and log which other sections have changed since the start."""
        try:
            found = await asyncio.to_thread(self._read)
        except SettingsError as exc:
            logger.warning("changed settings are not used", extra={"error": str(exc)})
            return []
        loaded = []
        if (logs := self._logs_of(found)) != self._logs:
            self._apply(logs)
            self._logs = logs
            loaded.append(_LOGS)
        if sections := self._changed(found):
            logger.warning("changed settings need a restart", extra={"sections": sections})
        return loaded

    def _changed(self, found: Settings) -> list[str]:
        sections = (name for name in type(found).model_fields if name != _LOGS)
        return [name for name in sections if getattr(found, name) != getattr(self._settings, name)]
