"""A RabbitMQ for tests: Debian's, with its data in a temporary folder and one scheduler."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from services.standalone.embedded.process import ServerFailed, ServerProcess, free_port
from tests.servers.certificates import Certificates
from tests.servers.debian import need_command
from tests.servers.processes import START_TIMEOUT, starting_again

_LIBRARY = Path("/usr/lib/rabbitmq/bin")


class RabbitmqServer:
    """One node; it keeps its data and its port over restarts."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.tls_port = 0
        """Where clients with a certificate connect; 0 without certificates."""
        self._folder = folder
        self._distribution = free_port()
        self._process = ServerProcess("RabbitMQ", folder / "rabbitmq.out")
        (folder / "plugins").write_text("[].")
        self._config = folder / "rabbitmq.conf"
        self._config.write_text("loopback_users = none\ndisk_free_limit.absolute = 50MB\n")

    def secure(self, certificates: Certificates) -> None:
        """Listen with TLS as well, for clients with a certificate."""
        self.tls_port = free_port()
        settings = {
            "listeners.ssl.1": f"127.0.0.1:{self.tls_port}",
            "ssl_options.cacertfile": certificates.ca,
            "ssl_options.certfile": certificates.server,
            "ssl_options.keyfile": certificates.server_key,
            "ssl_options.verify": "verify_peer",
            "ssl_options.fail_if_no_peer_cert": "true",
        }
        with self._config.open("a") as config:
            config.writelines(f"{name} = {value}\n" for name, value in settings.items())

    @property
    def url(self) -> str:
        """The URL of the broker, with its user."""
        return f"amqp://guest:guest@127.0.0.1:{self.port}/"

    def start(self) -> None:
        """Start it, and return once it accepts connections."""
        folder = self._folder
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "RABBITMQ_NODENAME": f"trelay{self.port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(self._distribution),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_MNESIA_BASE": str(folder / "data"),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
            "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq"),
            "RABBITMQ_PID_FILE": str(folder / "pid"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 1:1 +sbwt none +A 8",
            "RUNNING_UNDER_SYSTEMD": "true",  # no shell stays before the broker, which SIGKILL would end in its place
        }
        need_command("rabbitmqctl", "rabbitmq-server")
        try:
            self._process.start(
                [str(_LIBRARY / "rabbitmq-server")],
                ready=lambda _: b"Starting broker... completed" in self._process.output(),
                environment=environment,
                timeout=START_TIMEOUT,
            )
        except ServerFailed as exc:
            raise ServerFailed(f"{exc}\n{self._process.tail()}") from exc

    def kill(self) -> None:
        """Send SIGKILL."""
        self._process.kill()


@starting_again
@contextmanager
def rabbitmq_server(certificates: Certificates | None = None) -> Iterator[RabbitmqServer]:
    """Run a broker in a temporary folder.

    Raises:
        ServerMissing: it is not installed, and cannot be.
    """
    need_command("rabbitmqctl", "rabbitmq-server")
    with tempfile.TemporaryDirectory(prefix="trelay-rabbitmq-") as folder:
        server = RabbitmqServer(Path(folder))
        if certificates is not None:
            server.secure(certificates)
        try:
            server.start()
            yield server
        finally:
            server.kill()
