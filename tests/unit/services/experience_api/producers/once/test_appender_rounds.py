"""Pushes with one key and other contents that share a round."""

import asyncio
from typing import Any

import pytest

from services.experience_api.producers.once.appender import OnceAppender
from services.experience_api.producers.once.keys import Guarded
from services.experience_api.refusals import KEY_REUSED, PUSH_IN_PROGRESS, Refused
from shared.runtime.tasks import started
from tests.unit.services.experience_api.producers.once.pushing import Deployment, eventually, push

MINE, OTHER = push("a", "mine"), push("a", "other", fingerprint=b"g")


async def in_one_round(deployment: Deployment, appender: OnceAppender, *pushes: list[Guarded]) -> list[Any]:
    """Push while another round is in flight; return what became of each push."""
    deployment.bus.reached.clear()
    holding = deployment.bus.holding = asyncio.Event()
    before = started("push", appender.append(push(f"round {id(holding)}")))
    await deployment.bus.reached.wait()
    waiting = [started("push", appender.append(guarded)) for guarded in pushes]
    await asyncio.sleep(0)  # each waits for the next round now
    deployment.bus.holding = None
    holding.set()
    await before
    found = await asyncio.gather(*waiting, return_exceptions=True)
    return [each.refusal if isinstance(each, Refused) else each for each in found]


async def test_of_other_pushes_with_a_key_in_one_round_the_first_has_the_key() -> None:
    deployment = Deployment()
    async with deployment.replica() as one:
        assert await in_one_round(deployment, one, MINE, OTHER) == [1, PUSH_IN_PROGRESS]
        assert await eventually(one, MINE) == 0
        with pytest.raises(Refused) as caught:
            await eventually(one, OTHER)
        assert caught.value.refusal is KEY_REUSED
    assert [value for value in await deployment.published() if not value.startswith(b"round")] == [b"mine"]


@pytest.mark.parametrize("order", [[0, 1], [1, 0], [0, 1, 0], [1, 0, 1]])
async def test_each_push_of_a_round_is_compared_with_what_its_key_was_used_for(order: list[int]) -> None:
    deployment = Deployment()
    async with deployment.replica() as one:
        await one.append(MINE)
        found = await in_one_round(deployment, one, *([MINE, OTHER][number] for number in order))
        for number, each in zip(order, found, strict=True):
            assert each == ([0, KEY_REUSED][number] if number == order[0] else PUSH_IN_PROGRESS)
    assert [value for value in await deployment.published() if not value.startswith(b"round")] == [b"mine"]
