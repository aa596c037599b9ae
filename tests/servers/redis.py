"""A Redis for tests: Debian's, with its data in a temporary folder."""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from services.standalone.embedded.process import ServerProcess, free_port
from tests.servers.certificates import Certificates
from tests.servers.debian import need_command
from tests.servers.processes import START_TIMEOUT, starting_again


class RedisServer:
    """One server; it keeps its data and its port over restarts."""

    def __init__(self, folder: Path, arguments: Sequence[str]) -> None:
        self.port = free_port()
        self.tls_port = 0
        """Where clients with a certificate connect; 0 without certificates."""
        self._folder = folder
        self._arguments = arguments
        self._process = ServerProcess("Redis", folder / "redis.out")

    def secure(self, certificates: Certificates) -> None:
        """Listen with TLS as well, for clients with a certificate."""
        self.tls_port = free_port()
        files = {"cert": certificates.server, "key": certificates.server_key, "ca-cert": certificates.ca}
        named = [word for name, path in files.items() for word in (f"--tls-{name}-file", str(path))]
        self._arguments = [*self._arguments, "--tls-port", str(self.tls_port), "--tls-auth-clients", "yes", *named]

    @property
    def url(self) -> str:
        """The URL of the server."""
        return f"redis://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it, and return once it accepts connections."""
        program = need_command("redis-server", "redis-server")
        address = ["--bind", "127.0.0.1", "--port", str(self.port), "--dir", str(self._folder)]
        self._process.start(
            [program, *address, *self._arguments],
            ready=lambda _: b"Ready to accept connections" in self._process.output(),
            timeout=START_TIMEOUT,
        )

    def kill(self) -> None:
        """Send SIGKILL."""
        self._process.kill()


@starting_again
@contextmanager
def redis_server(*arguments: str, certificates: Certificates | None = None) -> Iterator[RedisServer]:
    """Run a server in a temporary folder; it writes an append-only file unless `arguments` say otherwise.

    Raises:
        ServerMissing: it is not installed, and cannot be.
    """
    need_command("redis-server", "redis-server")
    with tempfile.TemporaryDirectory(prefix="trelay-redis-") as folder:
        server = RedisServer(Path(folder), ["--appendonly", "yes", *arguments])
        if certificates is not None:
            server.secure(certificates)
        try:
            server.start()
            yield server
        finally:
            server.kill()
