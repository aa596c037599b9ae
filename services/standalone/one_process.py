"""`make run` and `trelay run`: the three services in one process, on a PostgreSQL of their own.

    TRELAY_CONFIG  the settings file; by default the examples
    TRELAY_PORT    the port of the experience layer on the loopback (8080)
    TRELAY_DATA    the folder for all data (var/)

Without a settings file it runs the examples and adds demo clients. With a settings file it adds no client. If the file
has no section `database`, a PostgreSQL runs in the data folder; its address is `${TRELAY_DATABASE_URL}` in the file.
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
from services.standalone.composed import STANDALONE, ComposedServices, RunSubscriber
from services.standalone.data import EXAMPLES
from services.standalone.servers import need_port, own_postgres
from services.standalone.settings import StandaloneSettings
from services.standalone.terminal import DEMO, as_typed, say, welcome
from shared.database.migrations import migrate
from shared.database.options import DatabaseOptions
from shared.errors import SettingsError, Unavailable
from shared.runtime.clock import SYSTEM_CLOCK
from shared.runtime.identity import Identity
from shared.runtime.logs import LogOptions, configure
from shared.runtime.reloading import Reload, SettingsFile, log_section
from shared.runtime.run import add_config_and_version, outlive_hangup, run, settle, until
from shared.runtime.tasks import Tasks
from shared.settings import load
from trelay_client import ClientCredentials

logger = logging.getLogger(__name__)

DATABASE_URL = "TRELAY_DATABASE_URL"
SUBSCRIBER = "demo-subscriber"
_NOTE = "made by make run"
"""Marks the demo clients, so that a client of an operator with the same name is left alone."""

_QUIET = LogOptions(
    format="text", level="warning", loggers={"shared.http.health": "error", "shared.runtime.reloading": "info"}
)
"""The default here. A start waits for its own servers, so lines about readiness would only repeat that."""

_SHUTDOWN_TIMEOUT = 4.5
IDENTITY = Identity(STANDALONE, STANDALONE)

_PLACEHOLDER = "postgresql://trelay@127.0.0.1/trelay"


@dataclass(frozen=True, slots=True)
class Command:
    """The arguments of the command line, with defaults from the environment."""

    data: Path
    port: int
    settings: Path | None
    """None runs the examples."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until SIGTERM or Ctrl-C, and return the exit status."""
    return run_standalone(read_command(arguments, os.environ))


def run_standalone(command: Command) -> int:
    """Run until SIGTERM or Ctrl-C, and return the exit status."""
    outlive_hangup()
    configure(_QUIET, IDENTITY)
    reload = Reload()

    async def running(stop: asyncio.Event) -> None:
        await _run(command, stop, reload)

    return run(running, shutdown_timeout=_SHUTDOWN_TIMEOUT, reload=reload)


def read_command(arguments: Sequence[str] | None, environment: Mapping[str, str]) -> Command:
    """Read the command line; the environment has the defaults."""
    parser = argparse.ArgumentParser(
        prog="python -m services.standalone",
        description="Runs all of Trelay in one process, on a PostgreSQL of its own; by default the examples.",
    )
    add_config_and_version(parser, environment)
    parser.add_argument(
        "--data",
        type=Path,
        metavar="FOLDER",
        default=Path(environment.get("TRELAY_DATA") or "var"),
        help="the folder for all data (TRELAY_DATA; var)",
    )
    parser.add_argument(
        "--port",
        type=_port,
        metavar="PORT",
        default=environment.get("TRELAY_PORT") or "8080",
        help="the port for subscribers on 127.0.0.1; 0 takes a free one (TRELAY_PORT; 8080)",
    )
    found = parser.parse_args(arguments)
    return Command(found.data.resolve(), found.port, found.config)


def _port(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) > 65535:  # noqa: PLR2004 -- the largest port
        raise argparse.ArgumentTypeError(f"found {text!r}; expected a port, 0 to 65535 (the default is TRELAY_PORT)")
    return int(text)


async def _run(command: Command, stop: asyncio.Event, reload: Reload) -> None:
    async with AsyncExitStack() as stack:
        path = command.settings
        if path is None:
            path = await examples(command.data)
        environment = {DATABASE_URL: _PLACEHOLDER, **os.environ}
        settings = load(path, StandaloneSettings, environment)
        configure(_logs_of(settings), IDENTITY)
        # From here on the settings are known to be valid.
        need_port(command.port)
        own = None
        if "database" not in settings.model_fields_set:
            own = await stack.enter_async_context(own_postgres(command.data / "postgres"))
            environment[DATABASE_URL] = own.address
            settings = load(path, StandaloneSettings, environment)
        database = settings.database if own is None else DatabaseOptions(url=own.address)
        account = await prepare(command, database, environment[DATABASE_URL], command.data)
        services = ComposedServices(settings, database, command.port)
        subscriber = None if account is None else _subscriber(command, account)
        tasks = await stack.enter_async_context(services.running(subscriber))
        logs = log_section(_logs_of, lambda logs: configure(logs, IDENTITY))
        file = SettingsFile(
            settings,
            lambda files: load(path, StandaloneSettings, environment, files=files),
            [logs, *services.sections],
            name=str(path),
        )
        reload.add(file.reload)
        reload.add(services.reload)
        services.show_settings(file)
        tasks.keep("settings file", file.follow(settings.reload))
        settle()
        if own is not None:
            tasks.keep("database", own.kept_up(say, SYSTEM_CLOCK))
        registered = f"--data {as_typed(command.data)}" if own is not None else f"--config {as_typed(path)}"
        is_demo = command.settings is None
        addresses = services.url, services.sources_url, services.process_url
        say(welcome(*addresses, path, command.data, registered, demo=is_demo))
        if is_demo:
            show(tasks, command.data / "examples", environment[DATABASE_URL])
        await until(stop, tasks)


def _logs_of(settings: StandaloneSettings) -> LogOptions:
    return settings.logs if "logs" in settings.model_fields_set else _QUIET


async def examples(data: Path) -> Path:
    """Copy the examples into the data folder, and return their settings file."""
    try:
        return await asyncio.to_thread(demo.copy_examples, data / "examples")
    except OSError as exc:
        raise SettingsError(f"{data} cannot be written to: {exc.strerror}") from exc


def _subscriber(command: Command, account: ClientCredentials) -> RunSubscriber:
    """Return the function that runs the subscriber of this program."""

    def subscriber(url: str, connected: Callable[[], None]) -> Coroutine[Any, Any, None]:
        return demo.print_events(url, account, command.data / f"{SUBSCRIBER}.cursor", say, connected)

    return subscriber


async def prepare(command: Command, database: DatabaseOptions, dsn: str, data: Path) -> ClientCredentials | None:
    """Prepare the database before the services start; return the credentials of the subscriber that prints events.

    With a settings file there is no such subscriber, and demo clients that an earlier run added are disabled, because
    the secret of one is public.
    """
    try:
        await migrate(database)
    except Unavailable as exc:
        raise SettingsError(f"the database must be reachable at the start: {exc}") from exc
    async with PostgresRegistry.opened(database) as registry:
        if command.settings is not None:
            await _disable_demo_clients(registry)
            return None
        await demo.make_table(dsn, (EXAMPLES / "orders.sql").read_text())
        return await _add_demo_clients(registry, data / f"{SUBSCRIBER}.secret")


def show(tasks: Tasks, examples: Path, dsn: str) -> None:
    """Change the examples while the program runs."""
    rng = random.Random()  # noqa: S311 -- example data
    tasks.keep("example feed", demo.grow_feed(examples / "sensors.ndjson", SYSTEM_CLOCK, rng))
    tasks.keep("example orders", demo.take_orders(dsn, SYSTEM_CLOCK, rng))


async def _add_demo_clients(registry: PostgresRegistry, secret_file: Path) -> ClientCredentials:
    """Add `demo`, for the user, and the client of the subscriber that prints events; return the latter."""
    subscriber = ClientCredentials(SUBSCRIBER, _secret(secret_file))
    for name, secret in ((DEMO, DEMO), (SUBSCRIBER, subscriber.client_secret)):
        try:
            await add_client(registry, name, secret=secret, loopback_only=True, note=_NOTE)
        except ClientExists:
            await registry.enable(name)
    return subscriber


async def _disable_demo_clients(registry: PostgresRegistry) -> None:
    for name in (DEMO, SUBSCRIBER):
        client = await registry.find(name)
        if client is not None and client.note == _NOTE and not client.disabled:
            await registry.disable(name)
            logger.warning("disabled a demo client", extra={"client_id": name})


def _secret(file: Path) -> str:
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch(mode=0o600)
        file.write_text(secrets.token_urlsafe(32))
    return file.read_text()
