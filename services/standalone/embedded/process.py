"""A server as a child process that does not outlive its parent: starts it, waits until it is ready, stops it."""

import fcntl
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from shutil import which

from shared.errors import TrelayError

_POLL = 0.02
_LOG_LIMIT = 16 * 1024 * 1024
_TAIL_LINES = 15


class ServerMissing(TrelayError):
    """The programs of a server are not on this machine; the text names what to install."""


class ServerFailed(TrelayError):
    """A server did not start, or not in time; the text ends with the last lines of its log."""


@cache
def _starter() -> ThreadPoolExecutor:
    # The kernel sends the death signal when the *thread* that started the child ends, not the process. So one thread,
    # which lives as long as the process, starts all children.
    return ThreadPoolExecutor(max_workers=1, thread_name_prefix="embedded-starter")


def dying_with_us(command: Sequence[str], death_signal: signal.Signals) -> list[str]:
    """Return the command with `death_signal` set, which the kernel sends when this process ends in any way (Linux)."""
    setpriv = which("setpriv")
    if not sys.platform.startswith("linux") or setpriv is None:
        return list(command)
    return [setpriv, f"--pdeathsig={death_signal.name.removeprefix('SIG')}", *command]


def free_port() -> int:
    """Return a free port of the loopback, for a server that keeps it over restarts.

    It is below the range that Linux uses for outgoing connections (32768 to 60999). One of those could hold the port
    when the server restarts, and a client that retries a closed port in that range can connect to itself. While this
    process runs, no other call returns the port, in this process or in another one of this user: the server may not
    listen yet, or not at the moment.
    """
    while True:
        port = 12_000 + secrets.randbelow(20_000)
        if _reserve(port) and port_is_free(port):
            return port


_reserved: set[int] = set()


@cache
def _reservations() -> int:
    """Return the descriptor of an open file: the lock of its byte N reserves port N until this process ends."""
    path = Path(tempfile.gettempdir()) / f"trelay-ports-{os.geteuid()}"
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)


def _reserve(port: int) -> bool:
    if port in _reserved:  # the locks of one process do not exclude each other
        return False
    try:
        fcntl.lockf(_reservations(), fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
    except OSError:
        return False
    _reserved.add(port)
    return True


def port_is_free(port: int) -> bool:
    """Return whether a server could listen on this port of the loopback now."""
    try:
        # create_server sets SO_REUSEADDR, as servers do, so that connections in TIME_WAIT do not count.
        socket.create_server(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True


def wait_until(condition: Callable[[], bool], timeout: float) -> bool:
    """Return True as soon as the condition holds, False if it does not within `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL)
    return True


class ServerProcess:
    """A program in a session of its own, which Ctrl-C at the terminal does not reach; its output goes to a file."""

    def __init__(self, name: str, log: Path) -> None:
        self.name = name
        self.log = log
        self._child: subprocess.Popen[bytes] | None = None
        self._begin = 0

    @property
    def pid(self) -> int:
        """The process id while it runs."""
        if self._child is None:
            raise ServerFailed(f"{self.name} is not running")
        return self._child.pid

    @property
    def running(self) -> bool:
        """Whether it has started and not ended."""
        return self._child is not None and self._child.poll() is None

    def start(
        self,
        command: Sequence[str],
        *,
        ready: Callable[[int], bool],
        environment: Mapping[str, str] | None = None,
        timeout: float,
    ) -> None:
        """Start it and return once `ready(pid)` is true.

        Raises:
            ServerFailed: it ended, or was not ready within `timeout` seconds; then it no longer runs.
        """
        if self.running:
            raise ServerFailed(f"{self.name} is already running")
        self._child = _starter().submit(self._spawn, command, environment).result()
        child = self._child
        in_time = wait_until(lambda: child.poll() is not None or ready(child.pid), timeout)
        if child.poll() is not None:
            raise ServerFailed(f"{self.name} ended with status {child.returncode}:\n{self.tail()}")
        if not in_time:
            self.kill()
            raise ServerFailed(f"{self.name} was not ready after {timeout:g} s:\n{self.tail()}")

    def stop(self, *requests: tuple[signal.Signals, float]) -> None:
        """Send each signal in turn and wait its seconds for the process to end; at last, send SIGKILL."""
        if self._child is None:
            return
        for number, timeout in requests:
            if not self.running:
                break
            self._child.send_signal(signal.SIGCONT)  # a paused process would not receive the next signal
            self._child.send_signal(number)
            try:
                self._child.wait(timeout)
            except subprocess.TimeoutExpired:
                continue
        self.kill()

    def kill(self) -> None:
        """Send SIGKILL to it and to the processes that it has started, and return when it has ended."""
        if self._child is None:
            return
        if self.running:
            os.killpg(self._child.pid, signal.SIGKILL)
        self._child.wait()
        self._child = None

    def pause(self) -> None:
        """Send SIGSTOP: its sockets stay open and nothing answers."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Continue a paused process."""
        os.kill(self.pid, signal.SIGCONT)

    def output(self) -> bytes:
        """Return what it has written to its log since its last start."""
        with self.log.open("rb") as log:
            log.seek(self._begin)
            return log.read()

    def tail(self) -> str:
        """Return the last lines of its log."""
        if not self.log.exists():
            return "(no log)"
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-_TAIL_LINES:])

    def _spawn(self, command: Sequence[str], environment: Mapping[str, str] | None) -> subprocess.Popen[bytes]:
        if self.log.exists() and self.log.stat().st_size > _LOG_LIMIT:
            self.log.replace(self.log.with_name(f"{self.log.name}.previous"))
        with self.log.open("ab") as output:
            self._begin = output.tell()
            return subprocess.Popen(
                list(command),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=dict(environment) if environment is not None else None,
                cwd=self.log.parent,
                start_new_session=True,
            )


class EmbeddedServer(ABC):
    """A server that is one process, in a folder of its own: it can be stopped and started again at the same address."""

    def __init__(self, process: ServerProcess) -> None:
        self._process = process

    @property
    def pid(self) -> int:
        """The process id while it runs."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it runs."""
        return self._process.running

    @property
    def log(self) -> Path:
        """The file with everything it has written to its log."""
        return self._process.log

    @abstractmethod
    def start(self) -> None:
        """Return when it answers clients.

        Raises:
            ServerMissing: it cannot be run by this user.
            ServerFailed: it did not start.
        """

    @abstractmethod
    def stop(self) -> None:
        """Shut down in order, within seconds."""

    def restart(self) -> None:
        """Stop and start: every connection is lost, the address stays."""
        self.stop()
        self.start()
