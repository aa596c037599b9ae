"""Events that are too slow or too large: dead-lettered alone, while the others pass."""

from typing import Any

import pytest

from shared.errors import Fenced, TrelayError
from shared.runtime.clock import SystemClock
from tests.unit.services.process_api.making import pipeline
from tests.unit.services.process_api.pipeline.steps import functions
from tests.unit.services.process_api.worker.streaming import TOPICS, Setting, until

FUNCTIONS = "tests.unit.services.process_api.pipeline.steps.functions"


class SkippingClock(SystemClock):
    """A clock whose time can skip ahead."""

    def __init__(self) -> None:
        self.skipped = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.skipped


async def test_an_event_so_slow_that_the_bus_evicts_the_member_is_dead_lettered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock, lost, runs = SkippingClock(), [], 0

    def take_long(data: Any) -> None:
        nonlocal runs
        if data["n"] == 40:
            runs += 1
            clock.skipped += 30
            lost.append(True)

    def fail(_number: int) -> TrelayError | None:
        return Fenced("evicted") if lost and lost.pop() else None

    monkeypatch.setattr(functions, "meanwhile", take_long)
    setting = Setting(pipelines=[pipeline({"python": f"{FUNCTIONS}:slow"})], clock=clock)
    setting.bus.fail = fail
    await setting.ingest(*range(50))
    async with setting.running():
        await until(lambda: len(setting.published()) == 49)
    assert setting.published() == [*range(40), *range(41, 50)]
    (error,) = setting.dead()
    assert error.startswith("took 30 s, the limit is 5 s")
    assert setting.attempts() == [runs] == [3]  # with others, and twice alone


class TestTooLarge:
    async def test_an_event_that_the_bus_refuses_is_dead_lettered_and_the_others_pass(self) -> None:
        setting = Setting(pipelines=[pipeline({"filter": "n < 1000"}, {"set": {"data.more": "=pad & pad & pad"}})])
        setting.bus.limit = 5000
        await setting.ingest(*range(5))
        await setting.ingest(5, pad="x" * 1500)
        await setting.ingest(*range(6, 12))
        async with setting.running():
            await until(lambda: len(setting.published()) == 11)
            await setting.ingest(12)
            await until(lambda: setting.published()[-1] == 12)
        assert setting.published() == [0, 1, 2, 3, 4, 6, 7, 8, 9, 10, 11, 12]
        (error,) = setting.dead()
        assert "the limit is 5000" in error
        (letter,) = setting.records(TOPICS.dead_letter)
        assert letter.key == b"orders:5"
        assert setting.attempts() == [2]  # with the others, and alone

    async def test_an_event_whose_dead_letter_is_refused_as_well_is_truncated(self) -> None:
        setting = Setting()
        setting.bus.limit = 70_000
        await setting.ingest(1)
        await setting.ingest(2, pad="x" * 80_000)
        await setting.ingest(3)
        async with setting.running():
            await until(lambda: len(setting.published()) == 2)
        (error,) = setting.dead()
        assert "(truncated: the first 65536 of " in error
        assert len(setting.records(TOPICS.dead_letter)[0].value) == 65536
        assert setting.attempts() == [2]  # it was not run again for its dead letter

    async def test_a_partition_whose_dead_letter_never_fits_pauses(self) -> None:
        setting = Setting()
        setting.bus.limit = 100
        await setting.ingest(1)
        async with setting.running():
            await until(lambda: len(setting.bus.submitted) > 8)
        assert setting.records(TOPICS.publish) == setting.records(TOPICS.dead_letter) == []
