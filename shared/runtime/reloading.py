"""What SIGHUP and a changed settings file do: load again what can change while a service runs, and log the rest.

file = SettingsFile(settings, read, [log_section(logs_of, apply)])
reload = Reload()
reload.add(file.reload)
file.add(*service.sections)
reload.add(service.reload)
tasks.keep("settings file", file.follow(options))
run(main, reload=reload)
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, Field

from shared.errors import SettingsError
from shared.runtime.clock import SYSTEM_CLOCK, Clock
from shared.runtime.files import Settled, stamp
from shared.runtime.logs import LogOptions
from shared.settings import Options
from shared.settings.differences import changed_keys

logger = logging.getLogger(__name__)

Part = Callable[[], Awaitable[list[str]]]
"""Loads something again and returns the names of what it loaded. What cannot be used is logged, and the old stays."""

Apply = Callable[[], None]
"""Lets a prepared change take effect. Does not fail."""

Reread = Callable[[], Awaitable[list[str]]]
"""Does what `SettingsFile.reread` does."""

Settings = TypeVar("Settings", bound=BaseModel)

_SHOWN = 20
"""Settings that one line of the log names."""


class ReloadOptions(Options):
    """When a changed settings file is loaded, besides SIGHUP."""

    on_change: bool = True
    """Whether the settings file is loaded when it has changed, or a file whose content belongs to the settings: a
    secret, a JSON Schema, a table of the step `enrich`."""

    interval: float = Field(default=5.0, ge=0.1, le=3600)
    """Seconds between two looks at these files. They are loaded once they are the same at two looks in a row."""


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

    def __init__(
        self,
        settings: Settings,
        read: Callable[[set[Path]], Settings],
        sections: Iterable[Section] = (),
        *,
        name: str = "the settings file",
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        """`settings` are those that the process was started with, `name` is what errors call the file.

        `read` blocks, raises `SettingsError`, and in either case adds the files that it has read to its argument.
        """
        self._settings = settings
        self._read = read
        self._name = name
        self._clock = clock
        self._reading = asyncio.Lock()
        self._sections: list[Section] = []
        self._values: dict[str, Any] = {}
        """What is in effect, by the name of the section."""
        self._files: set[Path] = set()
        """What the last reading has read."""
        self.problem: str | None = None
        """Why the file as it is now is not used; None while it is."""
        self.needs_restart: list[str] = []
        """The settings that have changed and that only a restart applies."""
        self.loaded_at = clock.time()
        """Seconds since 1970: when it was last read without a fault."""
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

    async def follow(self, options: ReloadOptions) -> None:
        """Load the files whenever they have changed, unless the options turn that off; without end.

        The first time is soon after the start: they may have changed since they were read for it.
        """
        if not options.on_change:
            await asyncio.Event().wait()
        settled = Settled()
        while True:
            await self._clock.sleep(options.interval)
            if settled.look(await asyncio.to_thread(stamp, sorted(self._files))):
                await self._load_changed()

    async def _load_changed(self) -> None:
        known = self.problem
        try:
            parts = await self._load(repeat=False)
        except SettingsError as exc:
            if str(exc) != known:  # once, however often the file is written
                logger.warning("changed settings are not used", extra={"error": str(exc)})
        except Exception:
            logger.exception("reload failed")
        else:
            if parts or known is not None:
                logger.info("reloaded", extra={"parts": parts})

    async def reread(self) -> list[str]:
        """Read the file, and apply all of its sections that have changed and can be reloaded, or none of them.

        Settings that have changed since the start and need a restart are logged. Returns what was applied.

        Raises:
            SettingsError: there is a fault in the file; nothing has changed.
        """
        return await self._load(repeat=True)

    async def _load(self, *, repeat: bool) -> list[str]:
        """Do what `reread` does; what needs a restart is logged again if `repeat`, else when it has changed."""
        files: set[Path] = set()
        async with self._reading:
            try:
                found = await asyncio.to_thread(self._read, files)
                self._expect_sections(found)
                applied = await self._apply(found)
            except Exception as exc:
                self._files |= files
                self.problem = str(exc)
                raise
            self._files, self.problem, self.loaded_at = files, None, self._clock.time()
            before, self.needs_restart = self.needs_restart, self._unapplied(found)
            if self.needs_restart and (repeat or self.needs_restart != before):
                shown, more = self.needs_restart[:_SHOWN], len(self.needs_restart) - _SHOWN
                also = {"more": more} if more > 0 else {}
                logger.warning("changed settings need a restart", extra={"settings": shown, **also})
            return applied

    def _expect_sections(self, found: Settings) -> None:
        """Refuse a file that has become empty: it is being written, or the disk is full."""
        if self._settings.model_fields_set and not found.model_fields_set:
            expected = ", ".join(sorted(self._settings.model_fields_set))
            raise SettingsError(f"{self._name}: found no section of this service; expected one of {expected}")

    async def _apply(self, found: Settings) -> list[str]:
        changed = [section for section in self._sections if section.value(found) != self._values[section.name]]
        prepared = [await section.prepare(section.value(found)) for section in changed]
        for section, apply in zip(changed, prepared, strict=True):
            apply()
            self._values[section.name] = section.value(found)
        return [section.name for section in changed]

    def _unapplied(self, found: Settings) -> list[str]:
        """Return the settings that differ from those at the start, without the sections that can be reloaded."""
        return list(changed_keys(self._without_sections(self._settings), self._without_sections(found)))

    def _without_sections(self, settings: Settings) -> dict[str, Any]:
        """Return the settings without the sections that can be reloaded."""
        dumped = settings.model_dump()
        for section in self._sections:
            *above, last = section.path
            reduce(dict.__getitem__, above, dumped).pop(last, None)
        return dumped
