"""Centrifugo, which benchmarks run beside Trelay: built once from its Go module; it reads a topic of Kafka."""

import json
import os
import signal
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from services.standalone.embedded.process import ServerProcess, dying_with_us, free_port
from tests.servers.go_programs import go_program
from tests.servers.processes import START_TIMEOUT, starting_again

_VERSION = "6.9.1"
_MODULE = f"github.com/centrifugal/centrifugo/v6@v{_VERSION}"


class CentrifugoServer:
    """One node."""

    def __init__(self, port: int, process: ServerProcess) -> None:
        self.port = port
        self._process = psutil.Process(process.pid)

    def cpu(self) -> float:
        """Return the seconds of CPU that it has taken, in the kernel too."""
        times = self._process.cpu_times()
        return float(times.user + times.system)

    def memory(self) -> int:
        """Return the bytes of memory that it alone holds."""
        return int(self._process.memory_full_info().uss)


@starting_again
@contextmanager
def centrifugo_server(servers: str, topic: str, channel: Mapping[str, Any]) -> Iterator[CentrifugoServer]:
    """Run a node that publishes the records of a topic, to the channels that their header names.

    `channel` are the options of channels. Everybody may connect and subscribe, without a token.

    Raises:
        ServerMissing: it cannot be built here.
    """
    program = go_program("centrifugo", _VERSION, _MODULE)
    with tempfile.TemporaryDirectory(prefix="trelay-centrifugo-") as name:
        folder, port = Path(name), free_port()
        (folder / "config.json").write_text(json.dumps(_settings(servers, topic, port, channel)))
        process = ServerProcess("Centrifugo", folder / "centrifugo.out")
        process.start(
            dying_with_us([str(program), "--config", str(folder / "config.json")], signal.SIGKILL),
            ready=lambda _: b"serving" in process.output(),
            environment={"PATH": os.environ["PATH"], "HOME": name},
            timeout=START_TIMEOUT,
        )
        try:
            yield CentrifugoServer(port, process)
        finally:
            process.kill()


def _settings(servers: str, topic: str, port: int, channel: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "http_server": {"address": "127.0.0.1", "port": str(port)},
        "http_api": {"insecure": True},
        "client": {"allow_anonymous_connect_without_token": True, "allowed_origins": ["*"]},
        "uni_websocket": {"enabled": True, "join_push_messages": True},
        "channel": {
            "without_namespace": {
                "allow_subscribe_for_client": True,
                "allow_subscribe_for_anonymous": True,
                **channel,
            }
        },
        "consumers": [
            {
                "name": "kafka",
                "enabled": True,
                "type": "kafka",
                "kafka": {
                    "brokers": [servers],
                    "topics": [topic],
                    "consumer_group": topic,
                    "publication_data_mode": {"enabled": True},
                },
            }
        ],
    }
