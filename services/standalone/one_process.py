"""The three services in one process, on a PostgreSQL of their own: what `make run` starts.

    TRELAY_CONFIG  the settings file; without one, the examples
    TRELAY_PORT    where the experience layer listens, on the loopback (8080)
    TRELAY_DATA    where everything is kept (var/)

Without a settings file it runs the examples, with clients for a demonstration. With one it runs what that says, and
makes no client; where it names no `database`, a PostgreSQL is started in the data folder, and
`${TRELAY_DATABASE_URL}` in the file leads there.
"""

import argparse
import asyncio
import logging
import os
import random
import secrets
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from services.experience_api.auth.clients import ClientExists, add_client
from services.experience_api.registry.postgres import PostgresRegistry
from services.standalone import demo
from services.standalone.composed import STANDALONE, Together, Watching
from services.standalone.data import EXAMPLES
from services.standalone.servers import need_port, own_postgres
from services.standalone.settings import StandaloneSettings
from services.standalone.terminal import DEMO, as_typed, say, welcome
from shared.database.engine import create_engine
from shared.database.migrations import migrate
from shared.database.options import DatabaseOptions
from shared.errors import SettingsError, Unavailable
from shared.runtime.clock import SYSTEM_CLOCK
from shared.runtime.identity import Identity
from shared.runtime.logs import LogOptions, configure
from shared.runtime.reloading import Reload, SettingsFile
from shared.runtime.run import add_config_and_version, outlive_hangup, run, settle, until
from shared.runtime.tasks import Tasks
from shared.settings import load
from trelay_client import ClientCredentials

logger = logging.getLogger(__name__)

DATABASE_URL = "TRELAY_DATABASE_URL"
WATCHER = "demo-subscriber"
_NOTE = "made by make run"
"""Tells the clients of the demonstration from those of an operator."""

_QUIET = LogOptions(
    format="text", level="warning", loggers={"shared.http.health": "error", "shared.runtime.reloading": "info"}
)
"""Unless the settings say otherwise: what a start waits for is no news here; what keeps it from starting is said."""

_SHUTDOWN_TIMEOUT = 4.5
IDENTITY = Identity(STANDALONE, STANDALONE)

_PLACEHOLDER = "postgresql://trelay@127.0.0.1/trelay"


@dataclass(frozen=True, slots=True)
class Command:
    """What the command line and the environment say."""

    data: Path
    port: int
    settings: Path | None
    """None: the examples."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until SIGTERM or Ctrl-C, and return the exit status."""
    outlive_hangup()
    command = read_command(arguments, os.environ)
    configure(_QUIET, IDENTITY)
    reload = Reload()

    async def running(stop: asyncio.Event) -> None:
        await _run(command, stop, reload)

    return run(running, shutdown_timeout=_SHUTDOWN_TIMEOUT, reload=reload)


def read_command(arguments: Sequence[str] | None, environment: Mapping[str, str]) -> Command:
    """Read the command line; what it does not say is in the environment."""
    parser = argparse.ArgumentParser(
        prog="python -m services.standalone",
        description="All of Trelay in one process, on a PostgreSQL of its own. Without --config: the examples.",
    )
    add_config_and_version(parser, environment)
    parser.add_argument(
        "--data",
        type=Path,
        metavar="FOLDER",
        default=Path(environment.get("TRELAY_DATA") or "var"),
        help="where everything is kept (TRELAY_DATA; var)",
    )
    parser.add_argument(
        "--port",
        type=_port,
        metavar="PORT",
        default=environment.get("TRELAY_PORT") or "8080",
        help="where subscribers connect, on 127.0.0.1; 0 takes a free one (TRELAY_PORT; 8080)",
    )
    found = parser.parse_args(arguments)
    return Command(found.data.resolve(), found.port, found.config)


def _port(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) > 65535:  # noqa: PLR2004 -- what a port is
        raise argparse.ArgumentTypeError(f"{text!r} is no port: expected 0 to 65535 (TRELAY_PORT says it, too)")
    return int(text)


async def _run(command: Command, stop: asyncio.Event, reload: Reload) -> None:
    async with AsyncExitStack() as stack:
        path = command.settings
        if path is None:
            path = await examples(command.data)
        environment = {DATABASE_URL: _PLACEHOLDER, **os.environ}
        settings = load(path, StandaloneSettings, environment)
        configure(_logs_of(settings), IDENTITY)
        # Only now are the settings known to be good, and where the database is.
        need_port(command.port)
        own = None
        if "database" not in settings.model_fields_set:
            own = await stack.enter_async_context(own_postgres(command.data / "postgres"))
            environment[DATABASE_URL] = own.address
            settings = load(path, StandaloneSettings, environment)
        database = settings.database if own is None else DatabaseOptions(url=own.address)
        account = await prepare(command, database, environment[DATABASE_URL], command.data)
        services = Together(settings, database, command.port)
        watching = None if account is None else _watching(command, account)
        tasks = await stack.enter_async_context(services.running(watching))
        reload.add(
            SettingsFile(
                settings,
                lambda: load(path, StandaloneSettings, environment),
                _logs_of,
                lambda logs: configure(logs, IDENTITY),
            ).reload
        )
        reload.add(services.reload)
        settle()
        if own is not None:
            tasks.keep("database", own.kept_up(say, SYSTEM_CLOCK))
        registered = f"--data {as_typed(command.data)}" if own is not None else f"--config {as_typed(path)}"
        is_demo = command.settings is None
        say(welcome(services.url, services.sources_url, path, command.data, registered, demo=is_demo))
        if is_demo:
            show(tasks, command.data / "examples", environment[DATABASE_URL])
        await until(stop, tasks)


def _logs_of(settings: StandaloneSettings) -> LogOptions:
    return settings.logs if "logs" in settings.model_fields_set else _QUIET


async def examples(data: Path) -> Path:
    """Return the settings file of the examples, all of which are then in the data folder."""
    try:
        return await asyncio.to_thread(demo.copy_examples, data / "examples")
    except OSError as exc:
        raise SettingsError(f"{data} cannot be written to: {exc.strerror}") from exc


def _watching(command: Command, account: ClientCredentials) -> Watching:
    """Return how the subscriber of this program is run."""

    def watching(url: str, connected: Callable[[], None]) -> Coroutine[Any, Any, None]:
        return demo.print_events(url, account, command.data / f"{WATCHER}.cursor", say, connected)

    return watching


async def prepare(command: Command, database: DatabaseOptions, dsn: str, data: Path) -> ClientCredentials | None:
    """Make what must be there before the services start; return the credentials of the subscriber that prints events.

    With a settings file there is no such subscriber, and the clients of the demonstration are disabled where an earlier
    run left them: their secrets are known to everybody.
    """
    try:
        await migrate(database)
    except Unavailable as exc:
        raise SettingsError(f"the database is needed from the start: {exc}") from exc
    engine = create_engine(database)
    try:
        registry = PostgresRegistry(engine, database)
        if command.settings is not None:
            await _disable_demo_clients(registry)
            return None
        await demo.make_table(dsn, (EXAMPLES / "orders.sql").read_text())
        return await _make_demo_clients(registry, data / f"{WATCHER}.secret")
    finally:
        await engine.dispose()


def show(tasks: Tasks, examples: Path, dsn: str) -> None:
    """Let the examples change."""
    rng = random.Random()  # noqa: S311 -- a show
    tasks.keep("example feed", demo.grow_feed(examples / "sensors.ndjson", SYSTEM_CLOCK, rng))
    tasks.keep("example orders", demo.take_orders(dsn, SYSTEM_CLOCK, rng))


async def _make_demo_clients(registry: PostgresRegistry, secret_file: Path) -> ClientCredentials:
    """Make `demo`, for the reader, and the client of the subscriber that prints events; return the latter."""
    watcher = ClientCredentials(WATCHER, _secret(secret_file))
    for name, secret in ((DEMO, DEMO), (WATCHER, watcher.client_secret)):
        try:
            await add_client(registry, name, secret=secret, loopback_only=True, note=_NOTE)
        except ClientExists:
            await registry.enable(name)
    return watcher


async def _disable_demo_clients(registry: PostgresRegistry) -> None:
    for name in (DEMO, WATCHER):
        client = await registry.find(name)
        if client is not None and client.note == _NOTE and not client.disabled:
            await registry.disable(name)
            logger.warning("disabled a demo client", extra={"client_id": name})


def _secret(kept: Path) -> str:
    if not kept.exists():
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.touch(mode=0o600)
        kept.write_text(secrets.token_urlsafe(32))
    return kept.read_text()
