"""Every row that a reader got is accounted for, and a reader that loses one is found out."""

import contextlib
from collections.abc import AsyncIterator

from services.system_api.operations.checkpoints import OwnPart
from services.system_api.sources.source import Batch, Checkpoint, Source
from shared.events.dead_letter import Reject
from tests.unit.services.system_api.harness import TOPICS, Harness, Numbers


class CountedNumbers(Numbers):
    """Counts its rows as they arrive: a number in `lost` becomes no event, by a bug; one in `skipped` on purpose."""

    lost: frozenset[int] = frozenset()
    skipped: frozenset[int] = frozenset()
    rejected: frozenset[int] = frozenset()

    async def poll(self, limit: int) -> Batch:
        first = self.next
        batch = await super().poll(limit)
        batch.rows = len(batch.records)
        numbers = dict(zip(range(first, self.next), batch.records, strict=True))
        batch.skipped = len(self.skipped & numbers.keys())
        batch.rejects = [
            Reject(f"numbers:{n}", b"", "bad", "source", f"source:{n}") for n in sorted(self.rejected & numbers.keys())
        ]
        without = self.lost | self.skipped | self.rejected
        batch.records = [record for number, record in numbers.items() if number not in without]
        return batch


async def unaccounted(harness: Harness, **given: frozenset[int]) -> tuple[int, int]:
    """Run a source to its end, restart it, and return the rows and those unaccounted for."""

    @contextlib.asynccontextmanager
    async def open_source(checkpoint: Checkpoint) -> AsyncIterator[Source]:
        source = CountedNumbers(int(checkpoint.get("", b"0")) + 1, harness.last, harness.before)
        for name, numbers in given.items():
            setattr(source, name, numbers)
        yield source

    async def run_to(last: int) -> OwnPart:
        harness.last = last
        async with harness.running(harness.poller(open_source=open_source)) as poller:
            await harness.until(lambda: poller.status.position == {"": str(last)})
        return poller.status.own

    await run_to(12)
    own = await run_to(25)
    return own.rows, own.unaccounted


async def test_a_source_that_is_right_has_no_row_unaccounted_for() -> None:
    harness = Harness()
    found = await unaccounted(harness, skipped=frozenset({2, 3}), rejected=frozenset({7, 20}))
    assert found == (25, 0)
    assert len(harness.published()) == 21


async def test_a_row_that_a_source_loses_stays_unaccounted_for_across_restarts() -> None:
    harness = Harness()
    assert await unaccounted(harness, lost=frozenset({5, 17})) == (25, 2)
    saved = await harness.bus.latest(TOPICS.checkpoints, b"numbers")
    assert saved[b"numbers/~trelay"] == b'{"rows":25,"published":23}'
