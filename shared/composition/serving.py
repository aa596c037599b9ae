"""A running service: its listener, its tasks, and the order in which it stops."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from shared.composition.parts import Parts
from shared.composition.settings_metrics import show_settings_file
from shared.http.server import Health, Listening, ListenOptions, serve
from shared.runtime.reloading import Part, Section, SettingsFile
from shared.runtime.tasks import Tasks


@dataclass(frozen=True, slots=True)
class RunningService:
    """A service while it runs."""

    listening: Listening
    tasks: Tasks
    health: Health
    sections: tuple[Section, ...] = ()
    """The sections of the settings file that can change while it runs."""
    reloads: tuple[Part, ...] = ()
    """What else it loads again, besides its certificate."""
    admin: Listening | None = None
    """The listener of its admin API, if it has one."""

    async def failed(self) -> BaseException:
        """Wait until something fails that the service cannot run without, and return the error."""
        return await self.tasks.failed()

    def show_settings(self, file: SettingsFile[Any]) -> None:
        """Show in `/readyz` and in metrics whether its settings file is in use."""
        show_settings_file(file, self.health)

    async def reload(self) -> list[str]:
        """Load again what else can change while it runs; return what was loaded."""
        loaded = await self.listening.reload()
        for part in self.reloads:
            loaded += await part()
        return loaded


@asynccontextmanager
async def serving(
    app: web.Application, listen: ListenOptions, parts: Parts, tasks: Tasks, drain: Callable[[], Awaitable[None]]
) -> AsyncIterator[RunningService]:
    """Listen for as long as the context lasts.

    On leaving:

    1. `/readyz` answers 503, so that load balancers send no more traffic.
    2. `drain` finishes the work in progress. Health and metrics still answer.
    3. The listener closes.

    Raises:
        SettingsError: the listener cannot be set up as the settings say.
    """
    async with serve(app, listen, parts.health, clock=parts.clock) as listening:
        try:
            yield RunningService(listening, tasks, parts.health)
        finally:
            parts.health.readiness.draining = True
            await drain()
