"""Stands in for the poller in tests of file sources: polls, saves checkpoints, and opens the source again."""

import asyncio
import contextlib
import json
import random
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

from services.system_api.sources.file.filesystem import FileStat
from services.system_api.sources.file.folders.globbing import Glob
from services.system_api.sources.file.folders.listing import Listing
from services.system_api.sources.file.held_files import RETAINED
from services.system_api.sources.file.opening import file_source
from services.system_api.sources.file.options import FileSourceOptions
from services.system_api.sources.source import Batch, Loss, Settling, Source
from shared.events.dead_letter import Reject
from shared.events.headers import PROVENANCE, unpack_provenance
from shared.runtime.clock import SystemClock


class ManualClock(SystemClock):
    """A monotonic clock that a test advances."""

    def __init__(self) -> None:
        self.at = 1000.0

    def monotonic(self) -> float:
        return self.at


class FilePoller:
    """Opens a file source, and keeps what was committed."""

    def __init__(
        self, path: Path | str, clock: SystemClock | None = None, *, folder: Path | None = None, **options: Any
    ) -> None:
        """`folder` is that of the settings file."""
        given = {"kind": "file", "path": str(path), "type": "t", "subject": "id", "interval": 0.001} | options
        self.clock = clock or SystemClock()
        self.options = FileSourceOptions.model_validate(given, context={"folder": folder})
        self.checkpoint: dict[str, bytes] = {}
        self.data: list[Any] = []
        self.ids: list[str] = []
        self.rejects: list[Reject] = []
        self.problems: list[str] = []
        self.waiting: list[str] = []
        self.losses: list[Loss] = []
        self.taken_early: list[str] = []
        self._source: Source | None = None

    @property
    def source(self) -> Source:
        assert self._source is not None, "open it first"
        return self._source

    @contextlib.asynccontextmanager
    async def opened(self, *, restarted: bool = True) -> AsyncIterator["FilePoller"]:
        """Open the source; `restarted` in another process, which holds no files."""
        if restarted:
            RETAINED.clear()
        async with file_source("files", self.options, self.clock, random.Random(1))(dict(self.checkpoint)) as source:
            self._source = source
            yield self
        self._source = None

    async def poll(self, limit: int = 1000) -> Batch:
        """Poll once, and commit."""
        batch = await self.source.poll(limit)
        await self.commit(batch)
        return batch

    async def commit(self, batch: Batch) -> None:
        assert batch.rows in {None, len(batch.records) + len(batch.rejects) + batch.skipped}, "rows are unaccounted for"
        for record in batch.records:
            self.data.append(json.loads((record.value or b"").partition(b'"data":')[2][:-1]))
            self.ids.append(unpack_provenance(dict(record.headers)[PROVENANCE]).id)
        self.rejects += batch.rejects
        self.problems = list(batch.problems)
        self.waiting = list(batch.waiting)
        self.losses += batch.losses
        self.taken_early += batch.taken_early
        for part, value in batch.checkpoint.items():
            if value is None:
                self.checkpoint.pop(part, None)
            else:
                self.checkpoint[part] = value
        if isinstance(self.source, Settling):
            await self.source.settle(batch)

    async def drain(self, limit: int = 1000) -> list[Any]:
        """Poll until nothing is waiting; return the data of the new events."""
        before = len(self.data)
        while (await self.poll(limit)).more:
            pass
        return self.data[before:]

    async def drain_reopened(self, limit: int = 1000) -> list[Any]:
        """The same, with a source that is opened for this."""
        async with self.opened():
            return await self.drain(limit)

    async def until(self, count: int) -> None:
        """Poll at each change until there are `count` events."""
        async with asyncio.timeout(60):
            while len(self.data) < count:
                if not (await self.poll()).more and len(self.data) < count:
                    await self.source.wait_for_change()

    @property
    def files(self) -> dict[str, Any]:
        """The file parts of the checkpoint, decoded."""
        return {part: json.loads(value) for part, value in self.checkpoint.items() if part}


def list_files(pattern: str) -> Sequence[FileStat]:
    """Return the files of a glob, oldest first."""
    return Listing([Glob(pattern)]).look({}, 1.0, 0.0).changed


def write(path: Path, *numbers: int, mode: str = "a", end: str = "\n") -> None:
    """Append a line for each number; `end` ends the last one."""
    with path.open(mode) as file:
        file.write("\n".join(f'{{"id":"{number}"}}' for number in numbers) + end)


def lines(*numbers: int) -> list[dict[str, str]]:
    return [{"id": str(number)} for number in numbers]


def dropping(
    folder: Path, clock: ManualClock | None = None, pattern: str = "*.ndjson", *, start: str = "beginning", **drop: Any
) -> FilePoller:
    """Make a poller of whole files, which need not be stable for a while."""
    drop = {"stable_seconds": 0} | drop
    format_ = "csv" if pattern.endswith(".csv") else "ndjson"
    return FilePoller(folder / pattern, clock, mode="drop", drop=drop, format=format_, start=start)


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what a thread does."""
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.001)
