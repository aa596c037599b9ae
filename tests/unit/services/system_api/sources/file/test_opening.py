"""A file source is opened by its options."""

import random
from pathlib import Path
from typing import Any

import pytest

from services.system_api.sources.file.dropping.drop import DropSource
from services.system_api.sources.file.opening import file_source
from services.system_api.sources.file.options import FileSourceOptions
from services.system_api.sources.file.tailing.tail import TailSource
from services.system_api.sources.source import Settling, Source
from shared.runtime.clock import SYSTEM_CLOCK


@pytest.mark.parametrize(("mode", "kind"), [("tail", TailSource), ("drop", DropSource)])
async def test_the_mode_selects_the_source(tmp_path: Path, mode: Any, kind: type[Source]) -> None:
    options = FileSourceOptions(kind="file", path=str(tmp_path / "*.csv"), type="t", subject="id", mode=mode)
    async with file_source("files", options, SYSTEM_CLOCK, random.Random(1))({}) as source:
        assert isinstance(source, kind)
        assert isinstance(source, Settling) is (mode == "drop")
