"""What SIGHUP does: loads again what can change while a service runs, and logs what needs a restart.

file = SettingsFile(settings, read, [log_section(logs_of, apply)])
reload = Reload()
reload.add(file.reload)
file.add(*service.sections)
reload.add(service.reload)
run(main, reload=reload)
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from functools import reduce
from typing import Any, Generic, TypeVar

from pydantic import BaseModel

from shared.errors import SettingsError
from shared.runtime.logs import LogOptions

logger = logging.getLogger(__name__)

Part = Callable[[], Awaitable[list[str]]]
"""Loads something again and returns the names of what it loaded. What cannot be used is logged, and the old stays."""

Apply = Callable[[], None]
"""Lets a prepared change take effect. Does not fail."""

Reread = Callable[[], Awaitable[list[str]]]
"""Does what `SettingsFile.reread` does."""

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


@dataclass(frozen=True, slots=True)
class Section:
    """A section of the settings file that can change while the process runs."""

    path: tuple[str, ...]
    """Its keys, from the top of the file."""
    prepare: Callable[[Any], Awaitable[Apply]]
    """Prepares a new value. Raises `SettingsError` if it cannot be used; then nothing changes."""
    read: Callable[[Any], Any] | None = None
    """Returns its value from the settings, where that is not what lies at `path`."""
    attach: Callable[[Reread], None] | None = None
    """Takes what reads the whole file again, for a service that offers that to operators."""

    @property
    def name(self) -> str:
        """The path as logs name it."""
        return ".".join(self.path)

    def value(self, settings: Any) -> Any:
        """Return its value in some settings."""
        return reduce(getattr, self.path, settings) if self.read is None else self.read(settings)


def log_section(logs_of: Callable[[Any], LogOptions], apply: Callable[[LogOptions], None]) -> Section:
    """Return the section `logs`; `apply` lets log settings take effect."""

    async def prepare(logs: LogOptions) -> Apply:
        return lambda: apply(logs)

    return Section(("logs",), prepare, logs_of)


class SettingsFile(Generic[Settings]):
    """The settings file of a running process: some of its sections take effect when they have changed."""

    def __init__(self, settings: Settings, read: Callable[[], Settings], sections: Iterable[Section] = ()) -> None:
        """`settings` are those that the process was started with; `read` blocks, and raises `SettingsError`."""
        self._settings = settings
        self._read = read
        self._reading = asyncio.Lock()
        self._sections: list[Section] = []
        self._values: dict[str, Any] = {}
        """What is in effect, by the name of the section."""
        self.add(*sections)

    def add(self, *sections: Section) -> None:
        """Reload these sections as well, from now on."""
        for section in sections:
            self._sections.append(section)
            self._values[section.name] = section.value(self._settings)
            if section.attach is not None:
                section.attach(self.reread)

    async def reload(self) -> list[str]:
        """Do what `reread` does; a fault in the file is logged."""
        try:
            return await self.reread()
        except SettingsError as exc:
            logger.warning("changed settings are not used", extra={"error": str(exc)})
            return []

    async def reread(self) -> list[str]:
        """Read the file, and apply all of its sections that have changed and can be reloaded, or none of them.

        Sections that have changed since the start and need a restart are logged. Returns what was applied.

        Raises:
            SettingsError: there is a fault in the file; nothing has changed.
        """
        async with self._reading:
            return await self._reread()

    async def _reread(self) -> list[str]:
        found = await asyncio.to_thread(self._read)
        changed = [section for section in self._sections if section.value(found) != self._values[section.name]]
        prepared = [await section.prepare(section.value(found)) for section in changed]
        for section, apply in zip(changed, prepared, strict=True):
            apply()
            self._values[section.name] = section.value(found)
        if sections := self._need_restart(found):
            logger.warning("changed settings need a restart", extra={"sections": sections})
        return [section.name for section in changed]

    def _need_restart(self, found: Settings) -> list[str]:
        before, after = (self._without_sections(settings) for settings in (self._settings, found))
        return [name for name in type(found).model_fields if before.get(name) != after.get(name)]

    def _without_sections(self, settings: Settings) -> dict[str, Any]:
        """Return the settings without the sections that can be reloaded."""
        dumped = settings.model_dump()
        for section in self._sections:
            *above, last = section.path
            reduce(dict.__getitem__, above, dumped).pop(last, None)
        return dumped
