"""Letters are listed in both directions, by page, and a request ends after some seconds."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Mapping

import pytest

from services.process_api.dead_letters import listing, scanning
from services.process_api.dead_letters.decisions import DecisionIndex
from services.process_api.dead_letters.listing import Lister
from services.process_api.dead_letters.places import Place
from services.process_api.dead_letters.requests import ListRequest
from shared.bus.memory import MemoryBus
from shared.bus.protocol import Reader
from shared.errors import Unavailable
from shared.runtime.clock import SystemClock
from tests.unit.services.process_api.dead_letters.lettering import TOPICS, Desk, reject


@pytest.fixture(autouse=True)
def _no_letter_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bus in memory has it, or will not get it."""
    monkeypatch.setattr(scanning, "_WAIT", 0.001)


class Hurried(SystemClock):
    """Each look at the clock takes seconds."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._now = 0.0

    def monotonic(self) -> float:
        self._now += self._seconds
        return self._now

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(0)


@pytest.mark.parametrize("order", ["newest", "oldest"])
async def test_the_pages_together_are_all_letters_in_order(order: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "_WINDOW", 7)
    rng, desk = random.Random(3), Desk()
    await desk.write(*(reject(number, stage=rng.choice(["pipeline", "entity"])) for number in range(60)))
    stages = [dict(record.headers)["stage"] for record in desk.records(TOPICS.dead_letter)]
    expected = [f"0-{number}" for number, stage in enumerate(stages) if stage == b"pipeline"]
    found: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        page = await desk.page(stage="pipeline", order=order, limit=str(rng.randrange(1, 9)), **cursor)
        found += [each["id"] for each in page["letters"]]
        if page["cursor"] is None:
            break
        cursor = {"cursor": page["cursor"]}
    assert found == (expected if order == "oldest" else expected[::-1])


@pytest.mark.parametrize(("order", "at"), [("newest", Place(0, 6)), ("oldest", Place(0, 2))])
async def test_a_page_ends_after_some_seconds(order: str, at: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "_WINDOW", 2)
    desk = Desk()
    await desk.write(*(reject(number) for number in range(8)))
    request = ListRequest.parse({"order": order, "error": "none has this"})
    lister = Lister(TOPICS.dead_letter, Hurried(1.5))
    page = await lister.page(desk.bus, request, DecisionIndex(""), {0: (0, 8)}, None)
    assert page == ([], at)


async def test_counts_continue_after_some_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "_WINDOW", 2)
    desk = Desk(clock=Hurried(0.7))
    await desk.write(*(reject(number) for number in range(9)))
    totals: list[int] = []
    cursor: dict[str, str] = {}
    while True:
        found = await desk.counts(**cursor)
        totals.append(found["total"])
        if found["cursor"] is None:
            break
        cursor = {"cursor": found["cursor"]}
    assert (sum(totals), len(totals) > 1) == (9, True)


class _SlowBus(MemoryBus):
    """Reads nothing before an offset, as where a broker is slow."""

    def __init__(self, silent_before: int) -> None:
        super().__init__()
        self._silent_before = silent_before

    @contextlib.asynccontextmanager
    async def reader(self, topic: str, positions: Mapping[int, int]) -> AsyncIterator[Reader]:
        silent = topic == TOPICS.dead_letter and any(offset < self._silent_before for offset in positions.values())
        async with super().reader("none" if silent else topic, positions) as reader:
            yield reader


@pytest.mark.parametrize(
    ("order", "ids", "at"),
    [
        ("oldest", ["0-0", "0-1", "0-2", "0-3"], Place(0, 4)),
        ("newest", ["0-4", "0-3", "0-2", "0-1"], Place(0, 1)),
    ],
)
async def test_what_was_read_before_a_bus_became_slow_is_answered(
    order: str, ids: list[str], at: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "_WINDOW", 2)
    desk = Desk(_SlowBus(1) if order == "newest" else None)
    await desk.write(*(reject(number) for number in range(5)))
    bounds = {0: (0, 9 if order == "oldest" else 5)}  # the end is known, and the last letters do not come
    lister, index = Lister(TOPICS.dead_letter, Hurried(0.05)), DecisionIndex("")
    page = await lister.page(desk.bus, ListRequest.parse({"order": order}), index, bounds, None)
    assert ([each["id"] for each in page.letters], page.at) == (ids, at)
    with pytest.raises(Unavailable):
        await lister.page(desk.bus, ListRequest.parse({"order": order}), index, bounds, page.at)


async def test_what_was_counted_before_a_bus_became_slow_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "_WINDOW", 2)
    desk, request = Desk(), ListRequest.parse({}, counts=True)
    await desk.write(*(reject(number) for number in range(5)))
    lister, index, beyond = Lister(TOPICS.dead_letter, Hurried(0.05)), DecisionIndex(""), {0: (0, 9)}
    groups, at = await lister.count(desk.bus, request, index, beyond, None)
    assert (groups.total, at) == (4, Place(0, 4)), "the next request counts the window that was read in part"
    with pytest.raises(Unavailable):
        await lister.count(desk.bus, request, index, beyond, at)


async def test_a_bus_that_does_not_answer_is_said() -> None:
    class Silent(MemoryBus):
        def __init__(self) -> None:
            super().__init__()
            self.problem = "no broker answers"

    desk = Desk(Silent())
    await desk.write(reject())
    lister = Lister(TOPICS.dead_letter, Hurried(4.0))
    beyond = {0: (0, 9)}  # as where a leader is gone: the end is known, and the letters are not there
    with pytest.raises(Unavailable, match="no broker answers"):
        await lister.page(desk.bus, ListRequest.parse({"order": "oldest"}), DecisionIndex(""), beyond, Place(0, 1))
    with pytest.raises(Unavailable, match="no broker answers"):
        await lister.find(desk.bus, Place(0, 1), beyond)
