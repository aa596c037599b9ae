"""Time, as CloudEvents writes it."""

import asyncio
from datetime import UTC, datetime

import pytest

from shared.runtime.clock import SYSTEM_CLOCK, rfc3339


@pytest.mark.parametrize(
    ("seconds", "written"),
    [
        (0.0, "1970-01-01T00:00:00.000Z"),
        (1_767_323_045.678, "2026-01-02T03:04:05.678Z"),
        (1_767_323_045.9999, "2026-01-02T03:04:05.999Z"),
    ],
)
def test_rfc3339(seconds: float, written: str) -> None:
    assert rfc3339(seconds) == written
    assert datetime.fromisoformat(written).tzinfo == UTC


async def test_the_system_clock_agrees_with_itself() -> None:
    before = SYSTEM_CLOCK.time()
    assert before <= SYSTEM_CLOCK.now().timestamp() <= SYSTEM_CLOCK.time()
    start = SYSTEM_CLOCK.monotonic()
    await SYSTEM_CLOCK.sleep(0)
    assert SYSTEM_CLOCK.monotonic() >= start
    assert asyncio.iscoroutinefunction(SYSTEM_CLOCK.sleep)
