"""Remote files in memory, and a poller of them."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest

from tests.unit.services.system_api.sources.file.file_poller import FilePoller, ManualClock


class MemoryFolder:
    """A folder of the file system in memory, which all sources of the process share."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.url = f"memory://{name}"
        self.fs: Any = fsspec.filesystem("memory")
        self.fs.makedirs(f"/{name}", exist_ok=True)

    def write(self, name: str, *numbers: int) -> None:
        self.put(name, "".join(f'{{"id":"{number}"}}\n' for number in numbers))

    def put(self, name: str, content: str | bytes) -> None:
        self.fs.pipe_file(f"/{self.name}/{name}", content.encode() if isinstance(content, str) else content)

    def names(self) -> list[str]:
        return sorted(path.removeprefix(f"/{self.name}/") for path in self.fs.find(f"/{self.name}"))

    def poller(
        self,
        pattern: str = "*.ndjson",
        clock: ManualClock | None = None,
        *,
        drop: dict[str, Any] | None = None,
        **more: Any,
    ) -> FilePoller:
        given = {"mode": "drop", "drop": drop or {}} | more
        return FilePoller(f"{self.url}/{pattern}", clock, **given)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[MemoryFolder]:
    found = MemoryFolder(f"{tmp_path.parent.name}-{tmp_path.name}")
    yield found
    found.fs.rm(f"/{found.name}", recursive=True)


def rows(*numbers: int) -> str:
    return json.dumps([{"id": str(number)} for number in numbers])
