"""`make run-kafka`: the three services as three processes, on a Kafka and a PostgreSQL of their own.

It uses the same examples and settings as `make run`, except for the section `bus`. The log of each process is in the
data folder.
"""

import asyncio
import os
import signal
import sys
import urllib.request
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml

from services.standalone import demo
from services.standalone.data import KAFKA_POM
from services.standalone.embedded.jars import cache_folder, resolved_jars
from services.standalone.embedded.kafka import record_aot_cache
from services.standalone.embedded.process import ServerFailed, ServerMissing, ServerProcess, dying_with_us, free_port
from services.standalone.one_process import (
    DATABASE_URL,
    IDENTITY,
    SUBSCRIBER,
    Command,
    examples,
    prepare,
    read_command,
    show,
)
from services.standalone.servers import need_port, own_kafka, own_postgres
from services.standalone.terminal import as_typed, say, welcome
from shared.database.options import DatabaseOptions
from shared.errors import SettingsError, Unavailable
from shared.runtime.clock import SYSTEM_CLOCK
from shared.runtime.logs import LogOptions, configure
from shared.runtime.reloading import Reload
from shared.runtime.run import outlive_hangup, run, settle, until
from shared.runtime.tasks import Tasks

LAYERS = ("experience", "process", "system")

_SHUTDOWN_TIMEOUT = 15.0
_SERVICE_TIMEOUT = 4.0
_START_TIMEOUT = 60.0
_CHECK_INTERVAL = 1.0
_LOCAL = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""Opens URLs of this machine, without a proxy that the environment may name."""


def main() -> int:
    """Run until SIGTERM or Ctrl-C, and return the exit status."""
    outlive_hangup()
    command = read_command(None, os.environ)
    configure(LogOptions(format="text", level="warning", loggers={"shared.runtime.reloading": "info"}), IDENTITY)
    reload = Reload()

    async def running(stop: asyncio.Event) -> None:
        try:
            await _run(command, stop, reload)
        except (ServerMissing, ServerFailed) as exc:
            raise SettingsError(str(exc)) from exc

    return run(running, shutdown_timeout=_SHUTDOWN_TIMEOUT, reload=reload)


async def _run(command: Command, stop: asyncio.Event, reload: Reload) -> None:
    async with AsyncExitStack() as stack:
        folder = command.data / "kafka"
        original = command.settings
        if original is None:
            original = await examples(folder)
        need_port(command.port)
        say("Starting PostgreSQL and Kafka; the first start downloads and prepares Kafka …")
        jars = await asyncio.to_thread(resolved_jars, KAFKA_POM, cache_folder())
        await asyncio.to_thread(record_aot_cache, jars)
        postgres = await stack.enter_async_context(own_postgres(folder / "postgres"))
        dsn = postgres.address
        kafka = await stack.enter_async_context(own_kafka(folder / "broker", jars))
        account = await prepare(command, DatabaseOptions(url=dsn), dsn, folder)
        ports = {layer: free_port() for layer in LAYERS}
        ports["experience"] = command.port or ports["experience"]
        settings = await asyncio.to_thread(_write_settings, original, kafka.address, ports)
        layers = _Layers(settings, ports, folder, {**os.environ, DATABASE_URL: dsn})
        processes = [await stack.enter_async_context(layers.running(layer)) for layer in ("experience", "process")]
        # Between the layers: the subscriber stops before the service that it is connected to.
        tasks = await stack.enter_async_context(Tasks())
        url = f"http://127.0.0.1:{ports['experience']}"
        if account is not None:
            connected = asyncio.Event()
            cursor = folder / f"{SUBSCRIBER}.cursor"
            tasks.keep("demo subscriber", demo.print_events(url, account, cursor, say, connected.set))
            await connected.wait()
        processes.append(await stack.enter_async_context(layers.running("system")))
        for process in processes:
            tasks.keep(process.name, _raise_when_ended(process))
        for own in (postgres, kafka):
            tasks.keep(own.name, own.kept_up(say, SYSTEM_CLOCK))
        reload.add(lambda: _hang_up(processes))
        settle()
        sources_url, process_url = (f"http://127.0.0.1:{ports[layer]}" for layer in ("system", "process"))
        is_demo = command.settings is None
        registered, logs = f"--data {as_typed(folder)}", f"{as_typed(folder)}/*.log"
        say(welcome(url, sources_url, process_url, settings, folder, registered, demo=is_demo, logs=logs))
        if is_demo:
            show(tasks, folder / "examples", dsn)
        await until(stop, tasks)


@dataclass(frozen=True, slots=True)
class _Layers:
    """The services as processes."""

    settings: Path
    ports: Mapping[str, int]
    folder: Path
    environment: Mapping[str, str]

    @asynccontextmanager
    async def running(self, layer: str) -> AsyncIterator[ServerProcess]:
        """Run one service; the context is entered when it is ready."""
        process = ServerProcess(f"the {layer} layer", self.folder / f"{layer}.log")
        await asyncio.to_thread(self._start, process, layer)
        try:
            yield process
        finally:
            await asyncio.to_thread(process.stop, (signal.SIGTERM, _SERVICE_TIMEOUT))

    def _start(self, process: ServerProcess, layer: str) -> None:
        command = [sys.executable, "-m", f"services.{layer}_api", "--config", str(self.settings)]
        process.start(
            dying_with_us(command, signal.SIGTERM),
            ready=lambda _pid: _ready(self.ports[layer]),
            environment=self.environment,
            timeout=_START_TIMEOUT,
        )


async def _hang_up(processes: Sequence[ServerProcess]) -> list[str]:
    """Send SIGHUP to each service, so that it reloads; its own log names what it reloaded."""
    running = [process for process in processes if process.running]
    for process in running:
        os.kill(process.pid, signal.SIGHUP)
    return [process.name for process in running]


async def _raise_when_ended(process: ServerProcess) -> None:
    while process.running:
        await SYSTEM_CLOCK.sleep(_CHECK_INTERVAL)
    raise Unavailable(f"{process.name} has ended:\n{process.tail()}")


def _ready(port: int) -> bool:
    try:
        with _LOCAL.open(f"http://127.0.0.1:{port}/readyz", timeout=2):
            return True
    except OSError:
        return False


def _write_settings(original: Path, bootstrap: str, ports: Mapping[str, int]) -> Path:
    """Write the settings of the three processes: those of the original, with Kafka as the bus."""
    settings = yaml.safe_load(original.read_text()) or {}
    settings |= {
        "database": {"url": f"${{{DATABASE_URL}}}"},
        "bus": {"kind": "kafka", "servers": bootstrap},
        "logs": {"format": "text"},
    }
    for layer, port in ports.items():
        settings[layer] = {**settings.get(layer, {}), "listen": {"port": port}}
    settings["experience"]["drain_delay"] = 0  # there is no load balancer
    settings["system"]["node"] = "run-kafka"
    written = original.with_name("trelay-kafka.yaml")
    written.write_text(yaml.safe_dump(settings, sort_keys=False, allow_unicode=True))
    return written


if __name__ == "__main__":
    sys.exit(main())
