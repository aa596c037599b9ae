"""Checkpoints and dead letters in a folder, for one process on one machine: no bus, no database.

The checkpoint of a source is flushed to the disk (`checkpoint_files`); a line of `dead-letters.ndjson` is flushed
before the checkpoint that passes it. A crash in between repeats the line. Each run of a source first tries out whether
the folder can be written: on a full disk, each attempt would deliver the same events again.
"""

import asyncio
import base64
import fcntl
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import BinaryIO, Self, TypeVar

from services.system_api.delivery.checkpoint_files import CheckpointFiles
from shared.bus.protocol import Outgoing, TopicOptions, TopicPartition, Transaction, Writer
from shared.bus.topics import TopicsOptions
from shared.errors import Fenced, SettingsError, Unavailable

T = TypeVar("T")

_LOCK = "lock"
_CHECKPOINTS = "checkpoints"
_DEAD_LETTERS = "dead-letters.ndjson"
_TRIAL, _TRIAL_BYTES = "trial", 262_144
"""A file that tells whether the folder can be written, and its bytes."""


class FolderBus:
    """A `CheckpointBus` in a folder."""

    def __init__(self, folder: Path, topics: TopicsOptions, threads: ThreadPoolExecutor) -> None:
        self.problem: str | None = None
        self._folder = folder
        self._topics = topics
        self._threads = threads
        self._checkpoints = CheckpointFiles(folder / _CHECKPOINTS)
        """Used in the one thread alone."""
        self._owners: dict[str, object] = {}
        """By name: the newest writer."""

    @classmethod
    @asynccontextmanager
    async def opened(cls, folder: Path, topics: TopicsOptions) -> AsyncIterator[Self]:
        """Open a folder for this process alone.

        Raises:
            SettingsError: it cannot be written, or another process uses it.
        """
        threads = ThreadPoolExecutor(1, "folder of checkpoints")
        try:
            lock = await asyncio.get_running_loop().run_in_executor(threads, _locked, folder)
            try:
                yield cls(folder, topics, threads)
            finally:
                os.close(lock)
        finally:
            threads.shutdown(wait=False)

    async def ensure_topics(self, topics: Iterable[TopicOptions]) -> None:
        """Nothing has to be created."""

    async def latest(self, topic: str, name: bytes) -> Mapping[bytes, bytes]:
        """Return the checkpoint of a source.

        Raises:
            Unavailable: the folder cannot be read.
        """
        if topic != self._topics.checkpoints:
            return {}
        parts = await self._run(lambda: dict(self._checkpoints.parts(name.decode())))
        return {key.encode(): value.encode() for key, value in parts.items()}

    @asynccontextmanager
    async def writer(self, name: str) -> AsyncIterator[Writer]:
        """Become the owner of `name`.

        Raises:
            Unavailable: the folder cannot be written. What is delivered before that is found is delivered again.
        """
        await self._run(self._try_out)
        writer = FolderWriter(name, self)
        self._owners[name] = writer
        yield writer

    async def write(self, transaction: Transaction) -> None:
        """Write a transaction: dead letters, then the checkpoint. Raises `Unavailable`."""
        rejects = transaction.records.get(self._topics.dead_letter, [])
        changes = transaction.records.get(self._topics.checkpoints, [])
        await self._run(lambda: self._write(rejects, changes))

    def owns(self, name: str, writer: object) -> bool:
        """Return whether a writer is the newest of its name."""
        return self._owners.get(name) is writer

    async def _run(self, work: Callable[[], T]) -> T:
        try:
            done = await asyncio.get_running_loop().run_in_executor(self._threads, work)
        except OSError as exc:
            self.problem = f"{self._folder}: {exc.strerror or exc}"
            raise Unavailable(self.problem) from exc
        except ValueError as exc:
            self.problem = f"{self._folder}: not what Trelay has written: {exc}"
            raise Unavailable(self.problem) from exc
        self.problem = None
        return done

    def _try_out(self) -> None:
        """Write as much as transactions usually need, and remove it."""
        path = self._folder / _TRIAL
        try:
            with path.open("wb") as file:
                file.write(bytes(_TRIAL_BYTES))
                file.flush()
                os.fsync(file.fileno())
        finally:
            path.unlink(missing_ok=True)

    def _write(self, rejects: Sequence[Outgoing], changes: Sequence[Outgoing]) -> None:
        if rejects:
            with (self._folder / _DEAD_LETTERS).open("a+b") as file:
                if file.seek(0, os.SEEK_END) and _last_byte(file) != b"\n":
                    file.write(b"\n")  # behind what a crash, or a full disk, has left of a line
                file.writelines(_line(reject) for reject in rejects)
                file.flush()
                os.fsync(file.fileno())
        by_source: dict[str, dict[str, str | None]] = {}
        for key, value, _ in changes:
            by_source.setdefault(_source(key), {})[key.decode()] = None if value is None else value.decode()
        for source, changed in by_source.items():
            self._checkpoints.write(source, changed)


class FolderWriter:
    """A `Writer` of one source."""

    def __init__(self, name: str, bus: FolderBus) -> None:
        self._name = name
        self._bus = bus

    async def submit(self, transaction: Transaction) -> Awaitable[None]:
        """Write a transaction; the awaitable that is returned is done."""
        if not self._bus.owns(self._name, self):
            raise Fenced(f"writer {self._name}: fenced by a newer writer of this name")
        await self._bus.write(transaction)
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        done.set_result(None)
        return done

    async def commit(self, transaction: Transaction) -> None:
        """Write a transaction."""
        await (await self.submit(transaction))

    async def committed(self, group: str, position: TopicPartition) -> int | None:
        """No group reads a folder."""
        raise Unavailable(f"group {group} has no offset of {position.topic}: checkpoints are kept in a folder")


def _locked(folder: Path) -> int:
    """Make the folder, and lock it for this process; return the descriptor of the lock."""
    try:
        (folder / _CHECKPOINTS).mkdir(parents=True, exist_ok=True)
        lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as exc:
        raise SettingsError(f"system.deliver.state: {folder} cannot be written: {exc.strerror}") from exc
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as exc:
        os.close(lock)
        raise SettingsError(f"system.deliver.state: {folder} is used by another process") from exc
    return lock


def _last_byte(file: BinaryIO) -> bytes:
    file.seek(-1, os.SEEK_END)
    return file.read(1)


def _source(key: bytes) -> str:
    return key.decode().partition("/")[0]


def _line(reject: Outgoing) -> bytes:
    headers = {name: value.decode(errors="replace") for name, value in reject.headers}
    value = base64.b64encode(reject.value or b"").decode()
    return json.dumps({"key": reject.key.decode(errors="replace"), **headers, "value_base64": value}).encode() + b"\n"
