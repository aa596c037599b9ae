"""An embedded PostgreSQL: its data, password, port and log in one folder, reachable from the loopback only."""

import fcntl
import os
import re
import secrets
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from io import FileIO
from pathlib import Path

from services.standalone.embedded.account import as_ordinary_user
from services.standalone.embedded.binaries import PostgresBinaries, binaries_for
from services.standalone.embedded.process import (
    EmbeddedServer,
    ServerFailed,
    ServerProcess,
    dying_with_us,
    free_port,
    port_is_free,
    wait_until,
)

USER = "trelay"
_ORPHAN_TIMEOUT = 20.0
_PORT_TIMEOUT = 2.0
_STATE_LINE = 7
_WRONG = re.compile(r"FATAL|PANIC|ERROR|error:")
_ENVIRONMENT = {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}


class FolderInUse(ServerFailed):
    """A running process uses a PostgreSQL in this folder."""


@dataclass(frozen=True, slots=True)
class PostgresOptions:
    """How an embedded PostgreSQL runs."""

    folder: Path
    """The folder for all its files; created if it does not exist."""

    password: bool = True
    """Whether clients need the password, which is random and kept in `folder`."""

    durable: bool = True
    """Whether a commit waits for the disk. If not, a crash of the *machine* may lose data."""

    settings: Mapping[str, str] = field(default_factory=dict)
    """Further settings of postgresql.conf."""

    start_timeout: float = 60.0
    """Seconds until it answers clients: after a kill under load, it replays its log first."""

    orphan_signal: signal.Signals = signal.SIGINT
    """The signal that it gets when this process is killed: SIGINT writes a checkpoint, SIGQUIT does not."""


class PostgresServer(EmbeddedServer):
    """Start, stop and kill it as often as you like: port, password and data stay.

    A server that an earlier owner left running on the same folder is stopped first; one whose owner runs is not
    touched.
    """

    def __init__(self, options: PostgresOptions, binaries: PostgresBinaries | None = None) -> None:
        self._options = options
        self._folder = options.folder.resolve()
        self._data = self._folder / "data"
        self._binaries = binaries or binaries_for(self._data)
        super().__init__(ServerProcess(f"PostgreSQL {self._binaries.major}", self._folder / "log"))
        self._lock: FileIO | None = None

    @property
    def version(self) -> int:
        """The major version."""
        return self._binaries.major

    @property
    def port(self) -> int:
        """The port on 127.0.0.1; kept in the folder, so that addresses hold over restarts."""
        return int((self._folder / "port").read_text())

    def dsn(self, database: str = USER) -> str:
        """Return `postgresql://…` of a database, the password included."""
        password = ""
        if self._options.password:
            password = ":" + (self._folder / "password").read_text().strip()
        return f"postgresql://{USER}{password}@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        """Return when it answers queries; the first start creates the data and the database `trelay`.

        Raises:
            ServerMissing: it cannot be run by this user.
            FolderInUse: a running process uses the folder.
            ServerFailed: it did not start.
        """
        folder = self._folder
        folder.mkdir(parents=True, exist_ok=True)
        self._take_folder()
        self._stop_orphan()
        if not (self._data / "PG_VERSION").exists():
            self._make_data()
        self._choose_port()
        command = [str(self._binaries.folder / "postgres"), "-D", str(self._data)]
        for name, value in self._settings().items():
            command += ["-c", f"{name}={value}"]
        self._process.start(
            [*self._ordinary_user(), *dying_with_us(command, self._options.orphan_signal)],
            ready=self._is_ready,
            environment=_ENVIRONMENT,
            timeout=self._options.start_timeout,
        )

    def stop(self, timeout: float = 3.0) -> None:
        """Shut down with a checkpoint; after `timeout` seconds without one (the next start then recovers)."""
        self._process.stop((signal.SIGINT, timeout), (signal.SIGQUIT, 1.0))
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def kill(self) -> None:
        """Send SIGKILL to it and its backends; committed data is there after the next start."""
        self._process.kill()
        self._kill_all()

    def pause(self) -> None:
        """SIGSTOP it and its backends: connections stay open and nothing answers."""
        # The postmaster first, so that no backend comes after the others are stopped.
        self._process.pause()
        self._signal_all(signal.SIGSTOP)

    def resume(self) -> None:
        """Continue after `pause`."""
        self._signal_all(signal.SIGCONT)

    def _choose_port(self) -> None:
        kept = self._folder / "port"
        if not kept.exists() or not wait_until(lambda: port_is_free(self.port), _PORT_TIMEOUT):
            kept.write_text(str(free_port()))

    def _ordinary_user(self) -> list[str]:
        return as_ordinary_user(self._binaries.folder / "postgres", self._folder)

    def _take_folder(self) -> None:
        if self._lock is not None:
            return
        # The kernel releases the lock when this process ends in any way. The server does not inherit it.
        lock = FileIO(str(self._folder / "owner.lock"), "a+")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            lock.seek(0)
            owner = lock.read(20).decode(errors="replace")
            lock.close()
            raise FolderInUse(f"{self._folder} is in use by process {owner or '(unknown)'}") from exc
        lock.truncate(0)
        lock.write(str(os.getpid()).encode())
        self._lock = lock

    def _stop_orphan(self) -> None:
        """Stop a server whose owner was killed: it may not have ended yet."""
        for pid in _processes_in(self._data):
            if [str(pid)] == self._postmaster_file()[:1]:
                os.kill(pid, signal.SIGINT)
        if not wait_until(lambda: not _processes_in(self._data), _ORPHAN_TIMEOUT):
            self._kill_all()

    def _signal_all(self, number: signal.Signals) -> None:
        for pid in _processes_in(self._data):
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def _kill_all(self) -> None:
        self._signal_all(signal.SIGKILL)
        if not wait_until(lambda: not _processes_in(self._data), _ORPHAN_TIMEOUT):
            raise ServerFailed(f"processes {_processes_in(self._data)} on {self._data} do not end")

    def _postmaster_file(self) -> list[str]:
        try:
            return (self._data / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return []

    def _is_ready(self, pid: int) -> bool:
        # Line 1 is the process id, line 8 the state: what pg_ctl waits for.
        lines = self._postmaster_file()
        return len(lines) > _STATE_LINE and lines[0] == str(pid) and lines[_STATE_LINE].strip() == "ready"

    def _settings(self) -> dict[str, str]:
        chosen = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": "",
            "max_connections": "200",
            "timezone": "UTC",
            "log_timezone": "UTC",
            "log_checkpoints": "off",
        }
        if not self._options.durable:
            chosen |= {"fsync": "off", "full_page_writes": "off"}
        return {**chosen, **self._options.settings}

    def _make_data(self) -> None:
        """Create the data in another folder and move it when complete, so that an interrupted start can be repeated."""
        folder = self._folder
        password = folder / "password"
        password.touch(mode=0o600)
        password.write_text(secrets.token_urlsafe(24) + "\n")
        half_made = folder / "data.new"
        if half_made.exists():
            shutil.rmtree(half_made)
        initdb = ["initdb", "-D", str(half_made), f"--username={USER}", f"--pwfile={password}"]
        initdb += ["--encoding=UTF8", "--locale=C", f"--auth={'scram-sha-256' if self._options.password else 'trust'}"]
        if not self._options.durable:
            initdb.append("--no-sync")
        self._run(initdb, "")
        # In single-user mode: the database exists before the first server starts.
        self._run(["postgres", "--single", "-D", str(half_made), "postgres"], f"CREATE DATABASE {USER};\n")
        half_made.replace(self._data)

    def _run(self, command: list[str], given: str) -> None:
        program, *arguments = command
        done = subprocess.run(
            [*self._ordinary_user(), str(self._binaries.folder / program), *arguments],
            input=given,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            cwd=self._folder,
            env=_ENVIRONMENT,
        )
        if done.returncode != 0:
            raise ServerFailed(f"{program} for {self._folder} ended with {done.returncode}:\n{_reason(done.stdout)}")


def _reason(output: str) -> str:
    """Return the lines that name an error, all lines if none does: initdb reports every step."""
    lines = output.strip().splitlines()
    return "\n".join([line for line in lines if _WRONG.search(line)] or lines)


def _processes_in(folder: Path) -> list[int]:
    """Return the processes of the PostgreSQL on this data: their working folder is the data folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended meanwhile, or belongs to another user
            if (process / "cwd").readlink() == folder and (process / "comm").read_text().strip() == "postgres":
                found.append(int(process.name))
    return found


@contextmanager
def postgres_server(options: PostgresOptions, binaries: PostgresBinaries | None = None) -> Iterator[PostgresServer]:
    """Run a PostgreSQL for as long as the context lasts."""
    server = PostgresServer(options, binaries)
    try:
        server.start()
        yield server
    finally:
        server.stop()
