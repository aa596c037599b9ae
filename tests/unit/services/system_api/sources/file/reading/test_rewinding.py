"""Files that an operator has read again: their events have the ids that they had before."""

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import pytest

from services.system_api.sources.capabilities import Rewinding
from shared.errors import Malformed
from tests.unit.services.system_api.sources.file.file_poller import FilePoller, write


async def rewind(poller: FilePoller, place: Literal["beginning", "end"] | datetime) -> None:
    async with poller.opened():
        assert isinstance(poller.source, Rewinding)
        found = await poller.source.checkpoint_at(place)
    poller.checkpoint = dict(found)
    poller.ids.clear()
    poller.data.clear()


@pytest.mark.parametrize(
    "options", [{}, {"mode": "drop", "drop": {"ready": "renamed"}}], ids=["tailed", "dropped and kept"]
)
async def test_every_line_comes_again_with_its_id_and_then_new_ones(tmp_path: Path, options: dict[str, Any]) -> None:
    poller = FilePoller(tmp_path / "*.ndjson", **options)
    write(tmp_path / "a.ndjson", 1, 2, 3)
    await poller.drain_reopened()
    write(tmp_path / "b.ndjson", 4, 5)
    await poller.drain_reopened()
    before = list(poller.ids)
    assert len(before) == 5
    await rewind(poller, "beginning")
    await poller.drain_reopened()
    assert sorted(poller.ids) == sorted(before)
    assert (poller.losses, poller.problems) == ([], [])
    write(tmp_path / "c.ndjson", 6)
    await poller.drain_reopened()
    assert len(set(poller.ids)) == 6, "a new file has a new id"


async def test_a_document_comes_again_with_its_ids(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('[{"id": "1"}, {"id": "2"}]')
    poller = FilePoller(tmp_path / "*.json", format="json", mode="drop", drop={"ready": "renamed"})
    await poller.drain_reopened()
    before = list(poller.ids)
    assert len(before) == 2
    await rewind(poller, "beginning")
    await poller.drain_reopened()
    assert poller.ids == before


async def test_since_a_time_the_files_that_were_modified_since_then_are_read_again(tmp_path: Path) -> None:
    poller = FilePoller(tmp_path / "*.ndjson")
    for name, id_, second in (("old", 1, 100), ("new", 2, 300)):
        write(tmp_path / f"{name}.ndjson", id_)
        os.utime(tmp_path / f"{name}.ndjson", (second, second))
    await poller.drain_reopened()
    await rewind(poller, datetime.fromtimestamp(200, UTC))
    await poller.drain_reopened()
    assert [row["id"] for row in poller.data] == ["2"]


async def test_a_file_that_is_gone_is_not_missed(tmp_path: Path) -> None:
    poller = FilePoller(tmp_path / "*.ndjson")
    write(tmp_path / "a.ndjson", 1)
    write(tmp_path / "b.ndjson", 2)
    await poller.drain_reopened()
    (tmp_path / "a.ndjson").unlink()
    await rewind(poller, "beginning")
    await poller.drain_reopened()
    assert [row["id"] for row in poller.data] == ["2"]
    assert poller.losses == []


async def test_files_have_no_end_to_rewind_to(tmp_path: Path) -> None:
    with pytest.raises(Malformed, match="to the beginning, to a time and to a position only"):
        await rewind(FilePoller(tmp_path / "*.ndjson"), "end")
