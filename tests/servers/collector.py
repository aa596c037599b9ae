"""An OpenTelemetry collector for tests, built once from its Go modules, which writes what it gets to files."""

import hashlib
import json
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from services.standalone.embedded.process import ServerProcess, free_port
from tests.servers.go_programs import go_program
from tests.servers.processes import START_TIMEOUT, starting_again

SIGNALS = ("traces", "metrics", "logs")
_PROGRAM = Path(__file__).with_name("collector_program")


class CollectorServer:
    """One collector."""

    def __init__(self, folder: Path, port: int, process: ServerProcess) -> None:
        self.endpoint = f"http://127.0.0.1:{port}"
        """Of its receiver for OTLP over HTTP."""
        self._folder = folder
        self._process = process

    def stop(self) -> None:
        """Stop it, so that its files are complete."""
        self._process.stop((signal.SIGTERM, 15))

    def spans(self) -> list[dict[str, Any]]:
        """Return the spans, each with the name of its service as `service`."""
        return self._items("traces", "resourceSpans", "scopeSpans", "spans")

    def metrics(self) -> list[dict[str, Any]]:
        """Return the metrics of all exports, as `spans` does."""
        return self._items("metrics", "resourceMetrics", "scopeMetrics", "metrics")

    def logs(self) -> list[dict[str, Any]]:
        """Return the records of the logs, as `spans` does."""
        return self._items("logs", "resourceLogs", "scopeLogs", "logRecords")

    def _items(self, signal_: str, resources: str, scopes: str, items: str) -> list[dict[str, Any]]:
        return [
            {**item, "service": attributes(resource["resource"])["service.name"]}
            for line in (self._folder / f"{signal_}.json").read_text().splitlines()
            for resource in json.loads(line)[resources]
            for scope in resource[scopes]
            for item in scope[items]
        ]


def attributes(item: dict[str, Any]) -> dict[str, Any]:
    """Return the attributes of a span, a record or a resource; numbers as OTLP writes them in JSON."""
    return {each["key"]: next(iter(each["value"].values())) for each in item.get("attributes", ())}


@starting_again
@contextmanager
def collector_server() -> Iterator[CollectorServer]:
    """Run a collector.

    Raises:
        ServerMissing: it cannot be built here.
    """
    program = _program()
    with tempfile.TemporaryDirectory(prefix="trelay-collector-") as name:
        folder, port = Path(name), free_port()
        (folder / "collector.yaml").write_text(yaml.safe_dump(_settings(folder, port)))
        process = ServerProcess("OpenTelemetry collector", folder / "collector.out")
        process.start(
            [str(program), f"--config={folder / 'collector.yaml'}"],
            ready=lambda _: b"Everything is ready" in process.output(),
            timeout=START_TIMEOUT,
        )
        try:
            yield CollectorServer(folder, port, process)
        finally:
            process.kill()


def _program() -> Path:
    digest = hashlib.sha256(b"".join((_PROGRAM / name).read_bytes() for name in ("main.go", "go.mod", "go.sum")))
    return go_program("collector", digest.hexdigest()[:16], ".", folder=_PROGRAM)


def _settings(folder: Path, port: int) -> dict[str, Any]:
    return {
        "receivers": {"otlp": {"protocols": {"http": {"endpoint": f"127.0.0.1:{port}"}}}},
        "exporters": {f"file/{each}": {"path": str(folder / f"{each}.json")} for each in SIGNALS},
        "service": {
            "pipelines": {each: {"receivers": ["otlp"], "exporters": [f"file/{each}"]} for each in SIGNALS},
            "telemetry": {"metrics": {"level": "none"}},
        },
    }
