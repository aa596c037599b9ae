"""An SQS for tests: moto's server, from a wheel, with its queues in memory."""

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from services.standalone.embedded.process import ServerProcess, free_port, port_is_free
from tests.servers.certificates import Certificates
from tests.servers.processes import START_TIMEOUT, starting_again

_PROGRAM = Path(__file__).with_name("sqs_moto.py")


class SqsServer:
    """One server; it forgets its queues when it stops."""

    def __init__(self, folder: Path, certificates: Certificates | None) -> None:
        self.port = free_port()
        self._tls = [] if certificates is None else [str(certificates.server), str(certificates.server_key)]
        self._process = ServerProcess("moto", folder / "moto.out")

    @property
    def url(self) -> str:
        """The endpoint."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it, and return once it accepts connections."""
        self._process.start(
            [sys.executable, str(_PROGRAM), str(self.port), *self._tls],
            ready=lambda _: not port_is_free(self.port),
            timeout=START_TIMEOUT,
        )

    def kill(self) -> None:
        """Send SIGKILL."""
        self._process.kill()


@starting_again
@contextmanager
def sqs_server(certificates: Certificates | None = None) -> Iterator[SqsServer]:
    """Run a server in a temporary folder, with TLS where there are certificates."""
    with tempfile.TemporaryDirectory(prefix="trelay-sqs-") as folder:
        server = SqsServer(Path(folder), certificates)
        try:
            server.start()
            yield server
        finally:
            server.kill()
