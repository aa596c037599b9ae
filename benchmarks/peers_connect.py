"""Workers of Kafka Connect, and the system layer of Trelay: processes that a benchmark starts, kills and measures."""

import asyncio
import json
import os
import signal
import subprocess
import urllib.error
import urllib.request
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from services.standalone.embedded.jars import cache_folder, resolved_jars
from services.standalone.embedded.kafka import find_java
from services.standalone.embedded.process import dying_with_us, free_port
from tests.e2e.programs import Program
from tests.servers.debian import need_command

_POM = Path(__file__).with_name("peers_pom.xml")
_TICKS = os.sysconf("SC_CLK_TCK")
_POLL = 0.1


class Usage(NamedTuple):
    """What a process has taken so far."""

    cpu: float
    """Seconds."""
    peak: float
    """The most memory that it had, in MiB."""


def usage(pid: int) -> Usage:
    """Return what a process has taken; see proc(5)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return Usage((int(fields[11]) + int(fields[12])) / _TICKS, int(status["VmHWM"].split()[0]) / 1024)


class Peer(Protocol):
    """A process that brings an upstream to a topic."""

    topic: str

    @property
    def pid(self) -> int:
        """The process that runs."""
        ...

    def start(self) -> None:
        """Start it."""
        ...

    async def ready(self) -> None:
        """Wait until it runs."""
        ...

    def kill(self) -> None:
        """SIGKILL it."""
        ...


@dataclass
class Trelay:
    """The system layer."""

    program: Program
    topic: str

    @property
    def pid(self) -> int:
        """See `Peer`."""
        return self.program.pid

    def start(self) -> None:
        """See `Peer`."""
        self.program.start()

    async def ready(self) -> None:
        """See `Peer`."""
        await self.program.ready(120)

    def kill(self) -> None:
        """See `Peer`."""
        self.program.kill()


@dataclass
class Connect:
    """A worker of Kafka Connect with one connector."""

    folder: Path
    name: str
    bootstrap: str
    topic: str
    connector: Mapping[str, str]
    exactly_once: bool
    """Whether it runs in distributed mode with `exactly.once.source.support`; otherwise in standalone mode."""
    settings: Mapping[str, str]
    port: int = field(default_factory=free_port)
    _process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """See `Peer`."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """See `Peer`."""
        common = {
            "bootstrap.servers": self.bootstrap,
            "listeners": f"http://127.0.0.1:{self.port}",
            "plugin.discovery": "service_load",
            "offset.flush.interval.ms": "10000",  # as in the files that Kafka is delivered with
            **self.settings,
        }
        if self.exactly_once:
            topics = {f"{kind}.storage.topic": f"{self.name}-{kind}" for kind in ("offset", "config", "status")}
            factors = {f"{kind}.storage.replication.factor": "1" for kind in ("offset", "config", "status")}
            common |= topics | factors | {"group.id": self.name, "exactly.once.source.support": "enabled"}
            common |= {"offset.storage.partitions": "1", "status.storage.partitions": "1"}
            files = [self._written("worker", common)]
        else:
            common["offset.storage.file.filename"] = str(self.folder / f"{self.name}.offsets")
            files = [self._written("worker", common), self._written("connector", {"name": self.name, **self.connector})]
        main = "ConnectDistributed" if self.exactly_once else "ConnectStandalone"
        jars = resolved_jars(_POM, cache_folder(), lambda: need_command("mvn", "maven"))
        command = [
            str(find_java()),
            "-Xmx1g",  # the default of connect-standalone.sh is 2 GiB
            "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
            "-cp",
            f"{jars}/*",
            f"org.apache.kafka.connect.cli.{main}",
            *files,
        ]
        with (self.folder / f"{self.name}.log").open("ab") as log:
            self._process = subprocess.Popen(
                dying_with_us(command, signal.SIGKILL), stdout=log, stderr=log, start_new_session=True
            )

    async def ready(self) -> None:
        """See `Peer`."""
        async with asyncio.timeout(240):
            while not await asyncio.to_thread(self._runs):  # noqa: ASYNC110 -- there is no event for it
                await asyncio.sleep(_POLL)

    def kill(self) -> None:
        """See `Peer`."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def _written(self, kind: str, settings: Mapping[str, str]) -> str:
        path = self.folder / f"{self.name}-{kind}.properties"
        path.write_text("".join(f"{key}={value}\n" for key, value in settings.items()))
        return str(path)

    def _runs(self) -> bool:
        with suppress(OSError, urllib.error.HTTPError):
            if self.exactly_once:
                body = {**self.connector, "exactly.once.support": "required"}
                self._ask("PUT", f"/connectors/{self.name}/config", body)
            tasks = self._ask("GET", f"/connectors/{self.name}/status")["tasks"]
            return [task["state"] for task in tasks] == ["RUNNING"]
        return False

    def _ask(self, method: str, path: str, body: Mapping[str, str] | None = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}", data, {"Content-Type": "application/json"}, method=method
        )
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 -- as above
            return json.load(answer)
