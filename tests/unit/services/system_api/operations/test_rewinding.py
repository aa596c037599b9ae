"""Where a rewind leads."""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from typing import TypeVar

import pytest

from services.system_api.operations.rewinding import checkpoint_at, described
from services.system_api.sources.capabilities import Place
from services.system_api.sources.source import Checkpoint, Source
from shared.errors import Malformed, SettingsError, Unavailable
from tests.unit.services.system_api.harness import Harness, Numbers, nothing

T = TypeVar("T")


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


class Distant(Numbers):
    """Numbers that look for their end step by step; every other step fails."""

    steps = 0

    async def checkpoint_at(self, place: Place) -> Checkpoint:
        raise AssertionError(f"{place} is sought")

    async def seek_end(self) -> Checkpoint | None:
        self.steps += 1
        if self.steps % 2:
            raise Unavailable("one of many requests fails")
        return {"": b"9"} if self.steps == 6 else None


async def test_an_end_that_is_far_away_is_sought_in_steps_of_one_source() -> None:
    opened, failures = 0, list[str]()

    @contextlib.asynccontextmanager
    async def open_source(checkpoint: Checkpoint) -> AsyncIterator[Source]:
        nonlocal opened
        opened += 1
        yield Distant(1, 9, nothing)

    async def retried(step: Callable[[], Awaitable[T]]) -> T:
        while True:
            try:
                return await step()
            except Unavailable as exc:
                failures.append(str(exc))

    assert await checkpoint_at("end", {}, open_source, retried) == {"": b"9"}
    assert (opened, len(failures)) == (1, 3)
    with pytest.raises(Unavailable):
        await checkpoint_at("end", {}, open_source)


def test_a_rewind_of_many_files_shows_some() -> None:
    before = {str(number): b"1" for number in range(1000)}
    shown = described(before, before | {"7": b"0"})
    assert (len(shown["from"]), shown["parts_moved"]) == (50, 1)
