"""Deliveries that arrive while one transaction is in flight share the next one."""

import asyncio
from collections.abc import Sequence

import pytest

from services.system_api.sources.http.webhook.inbox.delivery import Delivery, Outcome
from services.system_api.sources.http.webhook.rounds import Rounds
from shared.errors import Unavailable


class Store:
    def __init__(self) -> None:
        self.rounds: list[list[str | None]] = []
        self.released = asyncio.Event()
        self.error: Exception | None = None

    async def __call__(self, deliveries: Sequence[Delivery]) -> list[Outcome]:
        self.rounds.append([each.id for each in deliveries])
        await self.released.wait()
        if self.error is not None:
            raise self.error
        return [Outcome.REPEATED if each.id == "again" else Outcome.STORED for each in deliveries]


async def started(*calls: asyncio.Future[Outcome]) -> None:
    for _ in range(3):
        await asyncio.sleep(0)
    assert not any(call.done() for call in calls)


def joined(rounds: Rounds, *deliveries: Delivery) -> list[asyncio.Future[Outcome]]:
    return [asyncio.ensure_future(rounds.join(each)) for each in deliveries]


async def test_what_arrives_meanwhile_shares_a_round() -> None:
    store = Store()
    rounds = Rounds(store)
    calls = joined(rounds, Delivery("a", b""))
    await started(*calls)
    calls += joined(rounds, Delivery("b", b""), Delivery("again", b""))
    await started(*calls)
    store.released.set()
    assert await asyncio.gather(*calls) == [Outcome.STORED, Outcome.STORED, Outcome.REPEATED]
    assert store.rounds == [["a"], ["b", "again"]]


@pytest.mark.parametrize(("count", "size", "rounds"), [(5, 3_000_000, [1, 2, 2]), (251, 0, [1, 200, 50])])
async def test_a_round_is_bounded_in_bytes_and_rows(count: int, size: int, rounds: list[int]) -> None:
    store = Store()
    calls = joined(Rounds(store), *(Delivery(str(number), b"x" * size) for number in range(count)))
    await started(*calls)
    store.released.set()
    await asyncio.gather(*calls)
    assert [len(each) for each in store.rounds] == rounds


async def test_each_of_a_failed_round_gets_the_error_and_the_next_round_works() -> None:
    store = Store()
    store.released.set()
    store.error = Unavailable("away")
    rounds = Rounds(store)
    results = await asyncio.gather(*joined(rounds, Delivery("a", b""), Delivery("b", b"")), return_exceptions=True)
    assert [str(each) for each in results] == ["away", "away"]
    store.error = None
    assert await rounds.join(Delivery("a", b"")) is Outcome.STORED


async def test_a_caller_that_is_cancelled_while_it_waits_is_not_stored() -> None:
    store = Store()
    rounds = Rounds(store)
    first, second, third = joined(rounds, *(Delivery(name, b"") for name in "abc"))
    await started(first, second, third)
    second.cancel()
    await asyncio.wait([second])
    store.released.set()
    await asyncio.gather(first, third)
    assert store.rounds == [["a"], ["c"]]


async def test_those_whose_round_is_cancelled_get_an_error() -> None:
    store = Store()
    rounds = Rounds(store)
    first, second, third = joined(rounds, *(Delivery(name, b"") for name in "abc"))
    await started(first, second, third)
    store.released.set()
    store.released.clear()
    assert await first is Outcome.STORED
    await started(second, third)
    assert store.rounds == [["a"], ["b", "c"]]
    second.cancel()
    with pytest.raises(asyncio.CancelledError):
        await second
    with pytest.raises(Unavailable, match="was cancelled"):
        await third
