"""Controls of sources in a file, for one process on one machine."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Self

import msgspec

from services.system_api.operations.memory import MemorySourceStore
from services.system_api.operations.requests import Control
from shared.errors import SettingsError, Unavailable
from shared.runtime.clock import SYSTEM_CLOCK, Clock
from shared.runtime.files import replace

_FILE = "controls.json"


class FolderSourceStore(MemorySourceStore):
    """A `SourceStore` whose controls survive restarts; statuses and windows do not."""

    def __init__(self, path: Path, controls: dict[str, Control], clock: Clock = SYSTEM_CLOCK) -> None:
        super().__init__(clock)
        self._path = path
        self._controls = controls

    @classmethod
    async def opened(cls, folder: Path, clock: Clock = SYSTEM_CLOCK) -> Self:
        """Open the store in a folder, which need not exist.

        Raises:
            SettingsError: the file cannot be read.
        """
        path = folder / _FILE
        return cls(path, await asyncio.to_thread(_load, path), clock)

    async def _keep(self, controls: Mapping[str, Control]) -> None:
        try:
            await asyncio.to_thread(_save, self._path, controls)
        except OSError as exc:
            raise Unavailable(f"{self._path}: {exc.strerror or exc}") from exc


def _load(path: Path) -> dict[str, Control]:
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, Control])
    except FileNotFoundError:
        return {}
    except (OSError, msgspec.MsgspecError) as exc:
        raise SettingsError(f"{path} cannot be read: {exc}; expected what Trelay has written") from exc


def _save(path: Path, controls: Mapping[str, Control]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    replace(path, msgspec.json.encode(controls))
