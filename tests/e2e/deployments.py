"""Whole deployments: three processes on Kafka and PostgreSQL, or one process on PostgreSQL alone."""

import asyncio
import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from services.standalone.embedded.process import free_port
from tests.e2e.feeding import TABLE
from tests.e2e.programs import Program

PARTITIONS = 3
LINES = "lines"
LATE = "late"
"""A source of `two_of_each`, its table and its channel."""


@dataclass(frozen=True)
class Placed:
    """A deployment, as it is laid out."""

    programs: Sequence[Program]
    urls: Sequence[str]
    """Of the experience layer, one a replica."""
    bus: dict[str, Any]
    admin: str = ""
    """`http://127.0.0.1:port` of an admin API, where there is one."""

    @property
    def url(self) -> str:
        """Of one replica of the experience layer."""
        return self.urls[0]

    async def start(self) -> None:
        """Start every process that does not run, and wait until all are ready."""
        for program in self.programs:
            program.start()
        await asyncio.gather(*(program.ready() for program in self.programs))

    async def stop(self) -> list[int]:
        """Ask every process to stop, and return their exit statuses."""
        return await asyncio.gather(*(program.stop() for program in self.programs))

    def kill(self) -> None:
        """Kill what still runs."""
        for program in self.programs:
            program.kill()


def three_processes(
    folder: Path, feed: Path, dsn: str, bootstrap: str, prefix: str, notify: str | None = None
) -> Placed:
    """Lay out the three services, on Kafka; `notify` is the channel that wakes the table's source."""
    bus = {"kind": "kafka", "servers": bootstrap, "topics": _topics(prefix)}
    ports = _free_ports()
    settings = _settings(dsn, bus, feed, ports, notify)
    admin = _with_admin(settings)
    config = write_settings(folder, settings)
    return Placed(_programs(folder, config, ports), [f"http://127.0.0.1:{ports['experience']}"], bus, admin)


def two_of_each(
    folder: Path, feed: Path, dsn: str, bootstrap: str, prefix: str, pipelines: Mapping[str, Any]
) -> Placed:
    """Lay out two replicas of each service, on a Kafka of several brokers.

    Beside the sources of `three_processes` there is `LATE`, a table straight to the subscribers, and a table for each
    of the further `pipelines`, of its name.
    """
    bus = {"kind": "kafka", "servers": bootstrap, "topics": {**_topics(prefix), "replicas": 3}}
    programs: list[Program] = []
    urls = []
    for number in (1, 2):
        ports = _free_ports()
        settings = _settings(dsn, bus, feed, ports)
        settings["system"]["node"] = settings["process"]["node"] = f"e2e-{number}"
        sources = settings["system"]["sources"]
        sources[LATE] = sources["orders"] | {"table": LATE, "channel": LATE}
        for name, pipeline in pipelines.items():
            sources[name] = sources["orders"] | {"table": name}
            settings["process"]["pipelines"][name] = pipeline
        # Longer than some outages of the database and shorter than others: some close all connections, some none.
        settings["experience"]["connections"]["lease_seconds"] = 6
        (folder / str(number)).mkdir()
        programs += _programs(folder, write_settings(folder / str(number), settings), ports, f"-{number}")
        urls.append(f"http://127.0.0.1:{ports['experience']}")
    return Placed(programs, urls, bus)


def one_process(folder: Path, feed: Path, dsn: str) -> Placed:
    """Lay out all three services in one process, on PostgreSQL alone."""
    settings = _settings(dsn, {"kind": "postgres", "topics": _topics("e2e")}, feed, {})
    admin = _with_admin(settings)
    return dataclasses.replace(one_process_of(folder, settings), admin=admin)


def one_process_of(folder: Path, settings: dict[str, Any]) -> Placed:
    """Lay out all three services in one process, by sections of your own."""
    port = free_port()
    config = write_settings(folder, settings)
    program = Program(
        "standalone",
        ["-m", "services.standalone", "--config", str(config), "--data", str(folder / "data"), "--port", str(port)],
        f"http://127.0.0.1:{port}/readyz",
        folder / "standalone.log",
    )
    return Placed([program], [f"http://127.0.0.1:{port}"], settings["bus"])


def _with_admin(settings: dict[str, Any]) -> str:
    """Add an admin API; return its address."""
    port = free_port()
    settings["experience"]["admin"] = {"listen": {"port": port}}
    return f"http://127.0.0.1:{port}"


def _free_ports() -> dict[str, int]:
    return {name: free_port() for name in ("system", "process", "experience")}


def _programs(folder: Path, config: Path, ports: dict[str, int], replica: str = "") -> list[Program]:
    return [
        Program(
            f"{name}{replica}",
            ["-m", f"services.{name}_api", "--config", str(config)],
            f"http://127.0.0.1:{port}/readyz",
            folder / f"{name}{replica}.log",
        )
        for name, port in ports.items()
    ]


def _topics(prefix: str) -> dict[str, Any]:
    return {"prefix": prefix, "partitions": PARTITIONS}


def _settings(
    dsn: str, bus: dict[str, Any], feed: Path, ports: dict[str, int], notify: str | None = None
) -> dict[str, Any]:
    """Return the settings: a table through the process layer, a file straight to the subscribers."""
    settings: dict[str, Any] = {
        "database": {"url": dsn},
        "bus": bus,
        "logs": {"format": "text", "level": "info"},
        "system": {
            "lease_seconds": 2,
            "node": "e2e",
            "watermark_interval": 1,
            "sources": {
                "orders": {
                    "kind": "table",
                    "url": dsn,
                    "table": TABLE,
                    "subject": "account",
                    "type": "order.made",
                    "interval": 0.05,
                    "batch": 200,
                    "notify": notify,
                },
                LINES: {
                    "kind": "file",
                    "path": str(feed),
                    "subject": "sensor",
                    "type": "line.written",
                    "channel": LINES,
                    "interval": 0.05,
                    "batch": 200,
                },
            },
        },
        "process": {
            "node": "e2e",
            "pipelines": {
                "orders": {
                    "sources": ["orders"],
                    "channel": "orders",
                    "steps": [{"filter": "number >= 0"}, {"set": {"data.seen": True}}],
                }
            },
        },
        "experience": {"connections": {"lease_seconds": 2}, "drain_delay": 0},
    }
    for name, port in ports.items():
        settings[name]["listen"] = {"port": port}
    return settings


def write_settings(folder: Path, settings: dict[str, Any]) -> Path:
    """Write the settings file."""
    path = folder / "trelay.yaml"
    # JSON is YAML.
    path.write_text(json.dumps(settings, indent=1))
    path.chmod(0o600)
    return path
