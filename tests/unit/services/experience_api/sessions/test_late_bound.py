import asyncio

import pytest

from services.experience_api.refusals import UNAVAILABLE, Refused
from services.experience_api.sessions.late_bound import LateBound


def test_a_part_exists_between_set_and_clear() -> None:
    part: LateBound[str] = LateBound("database")
    with pytest.raises(Refused, match="starting: database unavailable; try again") as refused:
        part.get()
    assert refused.value.refusal is UNAVAILABLE
    assert refused.value.retry_after is not None
    part.set("here")
    assert part.get() == "here"
    assert part.value == "here"
    part.clear()
    assert part.value is None
    with pytest.raises(Refused):
        part.get()


async def test_a_wait_ends_when_the_part_is_set() -> None:
    part: LateBound[str] = LateBound("database")
    waiting = asyncio.ensure_future(part.wait())
    await asyncio.sleep(0)
    assert not waiting.done()
    part.set("here")
    await waiting
    await part.wait()
    part.clear()
    waiting = asyncio.ensure_future(part.wait())
    await asyncio.sleep(0)
    assert not waiting.done()
    waiting.cancel()
