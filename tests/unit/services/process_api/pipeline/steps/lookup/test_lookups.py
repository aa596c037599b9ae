"""Look-ups: cached, shared, in batches, and each failure for its key alone."""

import asyncio
from collections.abc import Sequence

import pytest

from services.process_api.pipeline.steps.lookup.cache import Cache, CacheOptions
from services.process_api.pipeline.steps.lookup.keys import Key
from services.process_api.pipeline.steps.lookup.lookups import Found, Lookups
from services.process_api.pipeline.steps.step import NotKnown
from shared.errors import Malformed, SettingsError, TrelayError, Unavailable
from shared.http.client.failures import UnusableResponse
from tests.unit.services.process_api.worker.test_filler import TickingClock


class Scripted:
    """A backend: `x…` is not found, `bad…` is refused."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []
        self.failure: Exception | None = None
        self.gate = asyncio.Event()
        self.gate.set()

    async def fetch(self, keys: Sequence[Key]) -> Found:
        self.asked.append([key.name for key in keys])
        await self.gate.wait()
        if self.failure is not None:
            raise self.failure
        if any(key.name.startswith("bad") for key in keys):
            raise UnusableResponse("400")
        return {key.name: b'"%b"' % key.name.encode() for key in keys if key.name[0] != "x"}


def keys(*names: str) -> list[Key]:
    return [Key(name, name) for name in names]


def made(backend: Scripted, *, batch_size: int = 10, stale: bool = False, clock: TickingClock | None = None) -> Lookups:
    options = CacheOptions(ttl=60, negative_ttl=10, stale_while_unavailable=stale)
    return Lookups(backend, Cache(options), clock or TickingClock(0), batch_size)


async def test_each_key_is_asked_for_once_and_in_batches() -> None:
    backend = Scripted()
    lookups = made(backend, batch_size=2)
    answers = await lookups.get(keys("a", "b", "a", "x", "b"))
    assert answers == {"a": b'"a"', "b": b'"b"', "x": None}
    assert backend.asked == [["a", "b"], ["x"]]
    assert await lookups.get(keys("a", "x")) == {"a": b'"a"', "x": None}
    assert len(backend.asked) == 2


async def test_two_partitions_share_a_look_up() -> None:
    backend = Scripted()
    backend.gate.clear()
    lookups = made(backend)
    async with asyncio.TaskGroup() as tasks:
        one = tasks.create_task(lookups.get(keys("a", "b")))
        await asyncio.sleep(0)
        two = tasks.create_task(lookups.get(keys("b", "c")))
        await asyncio.sleep(0)
        backend.gate.set()
    assert (one.result(), two.result()) == ({"a": b'"a"', "b": b'"b"'}, {"b": b'"b"', "c": b'"c"'})
    assert backend.asked == [["a", "b"], ["c"]]


async def test_a_cancelled_look_up_leaves_no_one_waiting() -> None:
    backend = Scripted()
    backend.gate.clear()
    lookups = made(backend)
    async with asyncio.TaskGroup() as tasks:
        one = tasks.create_task(lookups.get(keys("a")))
        await asyncio.sleep(0)
        two = tasks.create_task(lookups.get(keys("a")))
        await asyncio.sleep(0)
        three = tasks.create_task(lookups.get(keys("b", "a")))
        await asyncio.sleep(0)
        one.cancel()
        backend.gate.set()
    assert two.result() == {"a": b'"a"'}
    assert three.result() == {"b": b'"b"', "a": b'"a"'}
    assert backend.asked.count(["a"]) == 2, "another one asks in its place"


async def test_a_key_that_is_refused_is_found_out_by_halves() -> None:
    backend = Scripted()
    answers = await made(backend).get(keys("a", "bad", "b"))
    assert isinstance(answers["bad"], Malformed)
    assert (answers["a"], answers["b"]) == (b'"a"', b'"b"')
    assert backend.asked == [["a", "bad", "b"], ["a"], ["bad", "b"], ["bad"], ["b"]]


@pytest.mark.parametrize("place", [0, 100, 511])
async def test_one_key_that_is_refused_takes_few_queries(place: int) -> None:
    backend = Scripted()
    names = [f"k{number}" for number in range(512)]
    names[place] = "bad"
    answers = await made(backend, batch_size=512).get(keys(*names))
    assert [name for name, answer in answers.items() if isinstance(answer, Malformed)] == ["bad"]
    assert len(answers) == 512
    assert len(backend.asked) == 1 + 2 * 9


@pytest.mark.parametrize("failure", [Unavailable("away"), SettingsError("not allowed")])
async def test_a_system_that_is_away_concerns_the_keys_that_are_not_cached(failure: Exception) -> None:
    backend = Scripted()
    lookups = made(backend)
    await lookups.get(keys("a"))
    backend.failure = failure
    answers = await lookups.get(keys("a", "b"))
    assert answers["a"] == b'"a"'
    assert isinstance(answers["b"], Unavailable)
    assert str(answers["b"]) == str(failure)


async def test_old_values_bridge_an_outage_without_an_attempt_for_each_batch() -> None:
    clock = TickingClock(0)
    clock.advance(100)
    backend = Scripted()
    lookups = made(backend, stale=True, clock=clock)
    await lookups.get(keys("a"))
    backend.failure = Unavailable("away")
    clock.advance(61)
    for _ in range(3):
        assert await lookups.get(keys("a")) == {"a": b'"a"'}
    assert backend.asked == [["a"], ["a"]]
    clock.advance(2)
    backend.failure = None
    await lookups.get(keys("a"))
    assert len(backend.asked) == 3


async def test_what_is_cached_is_known_until_it_is_too_old() -> None:
    clock = TickingClock(0)
    lookups = made(Scripted(), clock=clock)
    with pytest.raises(NotKnown):
        lookups.known("a")
    await lookups.get(keys("a", "x"))
    assert (lookups.known("a"), lookups.known("x")) == (b'"a"', None)
    clock.advance(15)
    assert lookups.known("a") == b'"a"'
    with pytest.raises(NotKnown):
        lookups.known("x")


class Single(Scripted):
    """A backend that asks for each key by itself: `bad…` is refused, `away…` is not answered."""

    async def fetch(self, keys: Sequence[Key]) -> Found:
        self.asked.append([key.name for key in keys])
        found: dict[str, bytes | TrelayError] = {}
        for key in keys:
            if key.name.startswith("bad"):
                found[key.name] = UnusableResponse("400")
            elif key.name.startswith("away"):
                found[key.name] = Unavailable("503")
            else:
                found[key.name] = b'"%b"' % key.name.encode()
        return found


async def test_the_failure_of_one_key_leaves_the_values_of_the_others() -> None:
    backend = Single()
    lookups = made(backend)
    answers = await lookups.get(keys("a", "bad", "b", "away"))
    assert (answers["a"], answers["b"]) == (b'"a"', b'"b"')
    assert isinstance(answers["bad"], Malformed)
    assert isinstance(answers["away"], Unavailable)
    assert backend.asked == [["a", "bad", "b", "away"]], "no key is asked for again"
    assert lookups.known("a") == b'"a"'
