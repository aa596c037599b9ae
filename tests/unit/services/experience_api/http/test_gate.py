import asyncio

import pytest

from services.experience_api.http.gate import Gate
from shared.http.accepting import crowds


async def turns_of(count: int, gate: Gate) -> list[int]:
    """Let many requests arrive in one turn of the event loop; return the turn in which each of them began."""
    turn = 0
    found: list[int] = []

    async def request() -> None:
        await gate.enter()
        found.append(turn)

    tasks = [asyncio.create_task(request()) for _ in range(count)]
    while len(found) < count:
        await asyncio.sleep(0)
        turn += 1
    await asyncio.gather(*tasks)
    return found


async def test_a_crowd_begins_over_many_turns_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crowds, "_PER_SECOND", 0.0)  # turns of a busy machine are long
    found = await turns_of(100, Gate())
    assert found == sorted(found)
    assert max(found.count(turn) for turn in found) <= 8
    assert len(set(found)) >= 20


async def test_a_few_begin_at_once() -> None:
    gate = Gate()
    for _ in range(3):
        assert len(set(await turns_of(3, gate))) == 1


async def test_a_request_that_is_cancelled_holds_up_no_other() -> None:
    gate = Gate()
    tasks = [asyncio.create_task(gate.enter()) for _ in range(30)]
    await asyncio.sleep(0)
    for task in tasks[9:20]:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert not gate._waiting
    await gate.enter()
