"""Each kind of source is opened by its own package."""

import random
from pathlib import Path

from services.system_api.sources.file.opening import FileSourceKind
from services.system_api.sources.file.tailing.tail import TailSource
from services.system_api.sources.registry import build_source
from shared.runtime.clock import SYSTEM_CLOCK


async def test_a_file_source_in_tail_mode(tmp_path: Path) -> None:
    options = FileSourceKind(kind="file", path=str(tmp_path / "a.ndjson"), type="t", subject="id")
    async with build_source("orders", options, SYSTEM_CLOCK, random.Random(1))({}) as source:
        assert isinstance(source, TailSource)
