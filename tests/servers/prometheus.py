"""A Prometheus for tests: Debian's, with its data in a temporary folder."""

import json
import tempfile
import urllib.parse
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from services.standalone.embedded.process import ServerProcess, free_port
from tests.servers.debian import need_command
from tests.servers.processes import START_TIMEOUT, starting_again


class PrometheusServer:
    """One server, which scrapes and evaluates every second."""

    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}/api/v1/query"

    def query(self, expr: str) -> list[Any]:
        """Return the series of an instant query. Raises `urllib.error.HTTPError` for one that does not parse."""
        with urllib.request.urlopen(f"{self._url}?{urllib.parse.urlencode({'query': expr})}", timeout=30) as answer:
            found = json.load(answer)
        assert found["status"] == "success", found
        series: list[Any] = found["data"]["result"]
        return series


@starting_again
@contextmanager
def prometheus_server(targets: Sequence[str], rule_files: Sequence[Path]) -> Iterator[PrometheusServer]:
    """Run a server that scrapes these `host:port`.

    Raises:
        ServerMissing: it is not installed, and cannot be.
    """
    program = need_command("prometheus", "prometheus")
    with tempfile.TemporaryDirectory(prefix="trelay-prometheus-") as name:
        folder, port = Path(name), free_port()
        config = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(path) for path in rule_files],
            "scrape_configs": [{"job_name": "trelay", "static_configs": [{"targets": list(targets)}]}],
        }
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
        process = ServerProcess("Prometheus", folder / "prometheus.out")
        process.start(
            [
                program,
                f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            ready=lambda _: b"Server is ready to receive web requests" in process.output(),
            timeout=START_TIMEOUT,
        )
        try:
            yield PrometheusServer(port)
        finally:
            process.kill()
