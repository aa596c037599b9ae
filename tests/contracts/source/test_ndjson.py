"""Files that grow, line by line."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from services.system_api.sources.file.opening import FileSourceKind
from tests.contracts.source.suite import SourceContract
from tests.contracts.source.upstream import COMMON, line, unchanged


class GrowingFile:
    exactly_once = True

    def __init__(self, path: Path) -> None:
        self._path = path
        path.touch()

    def options(self) -> FileSourceKind:
        return FileSourceKind.model_validate({**COMMON, "kind": "file", "path": str(self._path), "subject": "k"})

    async def write(self, numbers: Sequence[int]) -> None:
        await asyncio.to_thread(self._append, b"".join(line(number) + b"\n" for number in numbers))

    async def write_poison(self) -> None:
        await asyncio.to_thread(self._append, b"{no json\n")

    @contextlib.asynccontextmanager
    async def outage(self) -> AsyncIterator[None]:
        """Move the folder away, as an unmounted disk does."""
        away = self._path.parent.with_name("away")
        self._path.parent.rename(away)
        yield
        away.rename(self._path.parent)

    def slow(self) -> contextlib.AbstractAsyncContextManager[None]:
        return unchanged()

    def _append(self, content: bytes) -> None:
        with self._path.open("ab") as file:
            file.write(content)


class TestNdjson(SourceContract):
    @pytest.fixture
    def upstream(self, tmp_path: Path) -> GrowingFile:
        (tmp_path / "in").mkdir()
        return GrowingFile(tmp_path / "in" / "numbers.ndjson")
