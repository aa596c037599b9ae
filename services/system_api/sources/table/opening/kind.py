"""The kind of source, and which way of reading its settings ask for."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from importlib import import_module
from urllib.parse import urlsplit

from services.system_api.sources.source import Checkpoint, EventBuilder, Source, SourceOpener
from services.system_api.sources.table.opening.assembly import Assembly
from services.system_api.sources.table.opening.diff import open_diff
from services.system_api.sources.table.opening.incremental import open_incremental
from services.system_api.sources.table.opening.outbox import open_outbox
from services.system_api.sources.table.opening.replication import open_replication
from services.system_api.sources.table.options import TableSourceOptions, settings_errors
from services.system_api.sources.table.postgresql.replication import managing
from shared.errors import SettingsError
from shared.runtime.clock import Clock
from shared.runtime.extras import extra

_READERS = {"mysql": ("diff_reader", "outbox_reader", "reader", "table"), "generic": ("reader",)}
_DRIVERS = {"mysql": ("asyncmy",), "mssql": ("aioodbc", "pyodbc"), "oracle": ("oracledb",)}
"""What an extra installs, by the names that are imported."""
_OPENERS = {"incremental": open_incremental, "diff": open_diff, "outbox": open_outbox, "replication": open_replication}


class TableSourceKind(TableSourceOptions):
    """Rows of a table or a view."""

    def opener(self, name: str, clock: Clock, rng: random.Random) -> SourceOpener:
        """Return what opens the source of this name."""
        return table_source(name, self, clock, rng)

    async def probe(self, name: str) -> str:
        """Look at the slot of the source; see `Probing`. A poll would create or read it."""
        return await managing.probe(name, self) if self.mode == "replication" else ""


def table_source(name: str, options: TableSourceOptions, clock: Clock, rng: random.Random) -> SourceOpener:
    """Return what opens the source of this name.

    Raises:
        SettingsError: the extra of its database is not installed.
    """
    needed = "mysql" if options.on_mysql else urlsplit(options.url).scheme
    with extra(needed, f"system.sources.{name}.url: {urlsplit(options.url).scheme}"):
        for package in _DRIVERS.get(needed, ()):
            _import_driver(package, f"system.sources.{name}.url")

    def builder(type_: str) -> EventBuilder:
        return EventBuilder(name, type_, options.channel, clock, rng)

    @asynccontextmanager
    async def open_source(checkpoint: Checkpoint) -> AsyncIterator[Source]:
        assembly = Assembly(name, options, builder, checkpoint, clock)
        if options.on_mysql or options.generic:
            await asyncio.to_thread(_import_readers, "mysql" if options.on_mysql else "generic")
        async with AsyncExitStack() as stack:
            with settings_errors(name):
                source = await _OPENERS[options.mode](stack, assembly)
            yield source

    return open_source


def _import_driver(package: str, place: str) -> None:
    """Import what SQLAlchemy imports by name."""
    try:
        import_module(package)
    except ModuleNotFoundError:
        raise
    except ImportError as exc:
        raise SettingsError(
            f"{place}: the package {package!r} cannot be imported: {exc}; install unixODBC and Microsoft's ODBC driver"
        ) from exc


def _import_readers(package: str) -> None:
    """Import what the openers import; in a thread, because SQLAlchemy takes long and the loop must not wait for it."""
    for name in _READERS[package]:
        import_module(f"services.system_api.sources.table.{package}.{name}")
