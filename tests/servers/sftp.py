"""An SFTP server for tests: OpenSSH of Debian, on the loopback, for the user that runs the tests."""

import getpass
import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from services.standalone.embedded.process import ServerProcess, free_port, port_is_free
from tests.servers.debian import need_command
from tests.servers.processes import START_TIMEOUT, starting_again

_CONFIG = """
Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/host
PidFile none
AuthorizedKeysFile {folder}/user.pub
StrictModes no
UsePAM no
PasswordAuthentication no
PermitRootLogin yes
Subsystem sftp internal-sftp
"""


class SftpServer:
    """One server, with the keys in its folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self._process = ServerProcess("sshd", folder / "sshd.out")

    @property
    def options(self) -> dict[str, str]:
        """The arguments of the file system."""
        return {
            "username": getpass.getuser(),
            "client_keys": str(self.folder / "user"),
            "known_hosts": str(self.folder / "known_hosts"),
        }

    def start(self) -> None:
        """Start it, and return once it accepts connections.

        Raises:
            ServerMissing: it cannot be installed here.
        """
        program = need_command("sshd", "openssh-server")
        for name in ("host", "user"):
            if not (self.folder / name).exists():
                command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.folder / name)]
                subprocess.run(command, check=True, timeout=60)
        key = (self.folder / "host.pub").read_text()
        (self.folder / "known_hosts").write_text(f"[127.0.0.1]:{self.port} {key}")
        config = self.folder / "sshd_config"
        config.write_text(_CONFIG.format(port=self.port, folder=self.folder))
        Path("/run/sshd").mkdir(exist_ok=True)  # of its own package; only root gets here
        self._process.start(
            [program, "-D", "-e", "-f", str(config)], ready=lambda _: not port_is_free(self.port), timeout=START_TIMEOUT
        )

    def kill(self) -> None:
        """Send SIGKILL."""
        self._process.kill()

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Stop the server and the process of each connection, for as long as the context lasts: nothing answers."""
        stopped = _descendants(self._process.pid)
        for process in stopped:
            os.kill(process, signal.SIGSTOP)
        try:
            yield
        finally:
            for process in stopped:
                with suppress(ProcessLookupError):
                    os.kill(process, signal.SIGCONT)


def _descendants(process: int) -> list[int]:
    """Return a process, its children, and theirs."""
    children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    return [process, *(each for child in children for each in _descendants(int(child)))]


@starting_again
@contextmanager
def sftp_server() -> Iterator[SftpServer]:
    """Run a server in a temporary folder.

    Raises:
        ServerMissing: it is not installed.
    """
    with tempfile.TemporaryDirectory(prefix="trelay-sftp-") as folder:
        server = SftpServer(Path(folder))
        try:
            server.start()
            yield server
        finally:
            server.kill()
