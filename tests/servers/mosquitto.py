"""A Mosquitto for tests: Debian's, with its data in a temporary folder."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from services.standalone.embedded.process import ServerProcess, free_port, port_is_free
from tests.servers.certificates import Certificates
from tests.servers.debian import need_command
from tests.servers.processes import START_TIMEOUT, starting_again


class MosquittoServer:
    """One broker; it keeps its data and its port over restarts."""

    def __init__(self, folder: Path, settings: str) -> None:
        self.port = free_port()
        self.tls_port = 0
        """Where clients with a certificate connect; 0 without certificates."""
        self._config = folder / "mosquitto.conf"
        self._process = ServerProcess("Mosquitto", folder / "mosquitto.out")
        self._config.write_text(
            f"listener {self.port} 127.0.0.1\nallow_anonymous true\npersistence true\nautosave_interval 1\n"
            f"autosave_on_changes true\npersistence_location {folder}/\nuser root\n{settings}"
        )

    def secure(self, certificates: Certificates) -> None:
        """Listen with TLS as well, for clients with a certificate."""
        self.tls_port = free_port()
        files = {"cafile": certificates.ca, "certfile": certificates.server, "keyfile": certificates.server_key}
        named = "".join(f"{name} {path}\n" for name, path in files.items())
        with self._config.open("a") as config:
            config.write(f"\nlistener {self.tls_port} 127.0.0.1\nrequire_certificate true\n{named}")

    @property
    def url(self) -> str:
        """The URL of the broker."""
        return f"mqtt://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it, and return once it accepts connections."""
        self._process.start(
            [need_command("mosquitto", "mosquitto"), "-c", str(self._config)],
            ready=lambda _: not port_is_free(self.port),
            timeout=START_TIMEOUT,
        )

    def kill(self) -> None:
        """Send SIGKILL."""
        self._process.kill()


@starting_again
@contextmanager
def mosquitto_server(settings: str = "", certificates: Certificates | None = None) -> Iterator[MosquittoServer]:
    """Run a broker in a temporary folder; `settings` are further lines of its configuration.

    Raises:
        ServerMissing: it is not installed, and cannot be.
    """
    need_command("mosquitto", "mosquitto")
    with tempfile.TemporaryDirectory(prefix="trelay-mosquitto-") as folder:
        server = MosquittoServer(Path(folder), settings)
        if certificates is not None:
            server.secure(certificates)
        try:
            server.start()
            yield server
        finally:
            server.kill()
