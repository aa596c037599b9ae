"""Centrifugo, which benchmarks run beside Trelay: built once from its Go module; it reads a topic of Kafka."""

import fcntl
import json
import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from shutil import which
from typing import Any

import psutil

from services.standalone.embedded.jars import cache_folder
from services.standalone.embedded.process import ServerMissing, ServerProcess, dying_with_us, free_port
from tests.servers.processes import START_TIMEOUT, downloading_again, starting_again

_VERSION = "6.9.1"
_MODULE = f"github.com/centrifugal/centrifugo/v6@v{_VERSION}"
_BUILD = 1800.0
"""Seconds to fetch the modules and compile them, which takes some minutes of CPU."""


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
    program = _program()
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


def _program() -> Path:
    """Return the path of the program; build it if the cache lacks it. Processes at the same time take turns."""
    program = cache_folder() / f"centrifugo-{_VERSION}"
    if program.exists():
        return program
    go = which("go")
    if go is None:
        raise ServerMissing("Go, which builds Centrifugo, is not on this machine (https://go.dev/dl/)")
    program.parent.mkdir(parents=True, exist_ok=True)
    with (program.parent / "centrifugo.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not program.exists():
            _build(go, program)
    return program


@downloading_again
def _build(go: str, program: Path) -> None:
    with tempfile.TemporaryDirectory(dir=program.parent) as folder:
        command = [go, "install", "-trimpath", "-ldflags=-s -w", _MODULE]
        environment = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-buildvcs=false", "GOBIN": folder}
        try:
            done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=_BUILD)
        except subprocess.TimeoutExpired as exc:
            raise ServerMissing(f"Centrifugo was not built within {_BUILD:g} s") from exc
        if done.returncode != 0:
            raise ServerMissing(f"go install failed: {done.stderr.strip()[-500:]}")
        (Path(folder) / "centrifugo").rename(program)
