"""Where a rewind leads."""

import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest

from services.system_api.operations.rewinding import checkpoint_at, described
from services.system_api.sources.capabilities import Place
from services.system_api.sources.source import Checkpoint, Source
from shared.errors import Malformed, SettingsError
from tests.unit.services.system_api.harness import Harness


@contextlib.asynccontextmanager
async def broken(checkpoint: Checkpoint) -> AsyncIterator[Source]:
    raise SettingsError("the checkpoint is of another kind of source")
    yield


async def test_any_source_has_a_beginning_and_saved_positions() -> None:
    assert await checkpoint_at("beginning", {"": b"7"}, Harness().open) == {}
    assert await checkpoint_at({"": b"3"}, {"": b"7"}, Harness().open) == {"": b"3"}


@pytest.mark.parametrize("place", ["end", datetime(2026, 1, 1, tzinfo=UTC)])
async def test_a_place_that_a_source_cannot_name_is_refused(place: Place) -> None:
    with pytest.raises(Malformed, match="beginning and to a position only"):
        await checkpoint_at(place, {"": b"7"}, Harness().open)


async def test_a_checkpoint_of_another_kind_can_be_left_by_a_rewind_to_the_beginning_alone() -> None:
    assert await checkpoint_at("beginning", {"": b"{}"}, broken) == {}
    for place in ("end", {"": b"3"}):
        with pytest.raises(SettingsError):
            await checkpoint_at(place, {"": b"{}"}, broken)


def test_a_rewind_of_many_files_shows_some() -> None:
    before = {str(number): b"1" for number in range(1000)}
    shown = described(before, before | {"7": b"0"})
    assert (len(shown["from"]), shown["parts_moved"]) == (50, 1)
