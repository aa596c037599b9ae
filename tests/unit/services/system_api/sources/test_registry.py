"""Each kind of source is opened by its own package, and other distributions add kinds."""

import random
import re
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Literal

import pytest

from services.system_api.sources.file.opening import FileSourceKind
from services.system_api.sources.file.tailing.tail import TailSource
from services.system_api.sources.registry import GROUP, build_source, installed_kinds, kind_of
from services.system_api.sources.source import SourceOptions
from shared.runtime.clock import SYSTEM_CLOCK
from tests.unit.services.system_api.sources.own_kind import TickSourceKind

HERE = "tests.unit.services.system_api.sources.own_kind"


class WithoutOpener(SourceOptions):
    kind: Literal["silent"]


async def test_a_file_source_in_tail_mode(tmp_path: Path) -> None:
    options = FileSourceKind(kind="file", path=str(tmp_path / "a.ndjson"), type="t", subject="id")
    async with build_source("orders", options, SYSTEM_CLOCK, random.Random(1))({}) as source:
        assert isinstance(source, TailSource)


def entry(name: str, value: str) -> EntryPoint:
    return EntryPoint(name, value, GROUP)


def test_an_entry_point_adds_a_kind() -> None:
    assert installed_kinds([entry("tick", f"{HERE}:TickSourceKind")], {"file"}) == [TickSourceKind]
    assert kind_of(TickSourceKind) == "tick"
    assert kind_of(SourceOptions) == ""


@pytest.mark.parametrize(
    ("found", "fault"),
    [
        (entry("tick", "nowhere:Nothing"), "ModuleNotFoundError"),
        (entry("tick", f"{HERE}:Nothing"), "AttributeError"),
        (entry("tick", "pathlib:Path"), "derives from SourceOptions"),
        (entry("tock", f"{HERE}:TickSourceKind"), r"expected `kind: Literal\['tock'\]`"),
        (entry("silent", f"{__name__}:WithoutOpener"), "no method `opener`"),
        (entry("file", "services.system_api.sources.file.opening:FileSourceKind"), "a kind of this name already"),
    ],
)
def test_one_that_cannot_be_loaded_is_logged_and_the_others_work(
    found: EntryPoint, fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    kinds = installed_kinds([found, entry("zick", f"{HERE}:ZickSourceKind")], {"file"})
    assert [kind_of(kind) for kind in kinds] == ["zick"]
    (record,) = caplog.records
    assert record.getMessage() == "source kind cannot be loaded"
    assert re.search(fault, str(record.__dict__["error"]))


def test_of_two_entry_points_of_one_name_the_first_is_taken() -> None:
    twice = [entry("tick", f"{HERE}:TickSourceKind"), entry("tick", f"{HERE}:TickSourceKind")]
    assert installed_kinds(twice, set()) == [TickSourceKind]
