"""Files in other ways than growing NDJSON: CSV that grows, whole files that are deleted, archived or kept."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from services.system_api.sources.file.opening import FileSourceKind
from tests.contracts.source.suite import SourceContract
from tests.contracts.source.upstream import COMMON, line, record, unchanged


class Folder:
    """A folder of files; each kind of test says how records are written into it."""

    exactly_once = True

    def __init__(self, folder: Path, name: str, **more: Any) -> None:
        self.folder = folder
        self._settings = {**COMMON, "kind": "file", "path": str(folder / name), "subject": "k", **more}
        folder.mkdir()

    def options(self) -> FileSourceKind:
        return FileSourceKind.model_validate(self._settings)

    @contextlib.asynccontextmanager
    async def outage(self) -> AsyncIterator[None]:
        """Move the folder away, as an unmounted disk does."""
        away = self.folder.with_name("away")
        self.folder.rename(away)
        yield
        away.rename(self.folder)

    def slow(self) -> contextlib.AbstractAsyncContextManager[None]:
        return unchanged()


class GrowingCsv(Folder):
    def __init__(self, folder: Path) -> None:
        super().__init__(folder, "numbers.csv")
        (folder / "numbers.csv").write_text('n,k,"text of\nthe row"\n')

    async def write(self, numbers: Sequence[int]) -> None:
        rows = (f'{number},{record(number)["k"]},"two\nlines"\n' for number in numbers)
        await asyncio.to_thread(self._append, "".join(rows))

    async def write_poison(self) -> None:
        await asyncio.to_thread(self._append, "1,2\n")

    def _append(self, text: str) -> None:
        with (self.folder / "numbers.csv").open("a") as file:
            file.write(text)


class Drops(Folder):
    """Each write makes a file, which is renamed when it is complete."""

    def __init__(self, folder: Path, extension: str, after: str) -> None:
        super().__init__(folder, f"*{extension}", mode="drop", drop={"ready": "renamed", "after": after})
        self._extension = extension
        self._files = 0

    async def write(self, numbers: Sequence[int]) -> None:
        await asyncio.to_thread(self._drop, self._content([line(number).decode() for number in numbers]))

    async def write_poison(self) -> None:
        await asyncio.to_thread(self._drop, self._content(["[]"]))

    def _content(self, records: list[str]) -> str:
        if self._extension == ".json":
            return f"[{', '.join(records)}]"
        if self._extension == ".csv":
            rows = (json.loads(each) or {"n": "", "k": ""} for each in records)
            return "n,k\n" + "".join(f"{row['n']},{row['k']}\n" for row in rows)
        return "".join(f"{each}\n" for each in records)

    def _drop(self, content: str) -> None:
        self._files += 1
        part = self.folder / "part"
        part.write_text(content)
        part.rename(self.folder / f"{self._files:06}{self._extension}")


class TestGrowingCsv(SourceContract):
    @pytest.fixture
    def upstream(self, tmp_path: Path) -> GrowingCsv:
        return GrowingCsv(tmp_path / "in")


class TestNdjsonDrop(SourceContract):
    @pytest.fixture
    def upstream(self, tmp_path: Path) -> Drops:
        return Drops(tmp_path / "in", ".ndjson", "delete")


class TestCsvDrop(SourceContract):
    @pytest.fixture
    def upstream(self, tmp_path: Path) -> Drops:
        return Drops(tmp_path / "in", ".csv", "archive")


class TestDocuments(SourceContract):
    @pytest.fixture
    def upstream(self, tmp_path: Path) -> Drops:
        return Drops(tmp_path / "in", ".json", "keep")
