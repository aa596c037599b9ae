"""What operators ask is carried out by the owner, exactly once, between two batches."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Literal

from services.system_api.operations.memory import MemorySourceStore
from services.system_api.operations.requests import Command, Outcome
from services.system_api.sources.source import Batch, Checkpoint, Source
from services.system_api.supervisor.poller import Poller
from services.system_api.supervisor.status import State
from shared.errors import Malformed, Unavailable
from tests.unit.services.system_api.harness import OPTIONS, TOPICS, Harness, Numbers, numbers


async def caught_up(harness: Harness, poller: Poller) -> None:
    await harness.until(lambda: poller.status.caught_up_at is not None)


async def test_a_paused_source_keeps_its_lease_and_reads_nothing_until_it_is_resumed() -> None:
    harness = Harness(last=5)
    async with harness.running(harness.poller()) as poller:
        await caught_up(harness, poller)
        await harness.operations.pause("numbers", "oncall", "maintenance")
        await harness.until(lambda: poller.status.state is State.PAUSED)
        assert poller.status.epoch is not None
        assert poller.status.error == "paused by oncall: maintenance"
        harness.last, opened = 10, len(harness.opened)
        await harness.operations.poll("numbers")
        await asyncio.sleep(0.05)  # nothing signals that nothing happens
        assert len(harness.opened) == opened
        await harness.operations.resume("numbers", "oncall")
        await harness.until(lambda: len(harness.published()) == 10)
    assert harness.published() == numbers(10)
    assert harness.alerts.calls == []


async def test_a_source_that_was_paused_before_a_start_is_not_opened() -> None:
    harness = Harness()
    await harness.operations.pause("numbers", "oncall", "")
    async with harness.running(harness.poller()) as poller:
        await harness.until(lambda: poller.status.state is State.PAUSED)
    assert harness.opened == []


async def test_a_pause_ends_the_alert_of_a_source_that_is_down() -> None:
    async def fail(_next: int) -> None:
        raise Unavailable("refused")

    harness = Harness(before=fail)
    async with harness.running(harness.poller()) as poller:
        await harness.until(lambda: poller.status.state is State.DOWN)
        await harness.operations.pause("numbers", "oncall", "")
        await harness.until(lambda: poller.status.state is State.PAUSED)
        assert harness.alerts.open == set()


async def test_a_poll_that_is_asked_for_ends_the_wait_for_the_interval_and_for_a_probe() -> None:
    down = asyncio.Event()

    async def fail(_next: int) -> None:
        if down.is_set():
            raise Unavailable("refused")

    harness = Harness(last=5, before=fail)
    options = OPTIONS.model_copy(update={"interval": 3600.0})
    async with harness.running(harness.poller(options)) as poller:
        await caught_up(harness, poller)
        source = harness.opened[0]
        assert isinstance(source, Numbers)
        source.last = 7
        await harness.operations.poll("numbers")
        await harness.until(lambda: len(harness.published()) == 7)
        down.set()
        source.last = 9
        await harness.operations.poll("numbers")
        await harness.until(lambda: poller.status.state is State.DOWN)
        down.clear()
        await harness.until(lambda: len(harness.published()) == 9)


async def test_a_rewind_to_the_beginning_repeats_every_event_with_its_id() -> None:
    harness = Harness(last=7)
    async with harness.running(harness.poller()) as poller:
        await caught_up(harness, poller)
        await harness.operations.request("numbers", Command.REWIND, '"beginning"', "oncall")
        await harness.until(lambda: len(harness.published()) == 14)
        control = harness.controls.of("numbers").current
    assert harness.published() == numbers(7) * 2
    ids = [json.loads(record.value or b"")["id"] for record in harness.bus.records(TOPICS.publish, 0)]
    assert ids[:7] == ids[7:]
    assert control.outcome is not None
    assert (control.outcome.error, control.pending) == (None, None)
    assert control.outcome.result == {"from": {"": "7"}, "to": {}, "parts_moved": 1}
    own = b'{"generation":%d,"rows":14,"published":14}' % control.outcome.generation
    assert await saved(harness) == {b"numbers": b"7", b"numbers/~trelay": own}


async def test_a_rewind_to_a_position_resumes_behind_it() -> None:
    harness = Harness(last=7)
    async with harness.running(harness.poller()) as poller:
        await caught_up(harness, poller)
        await harness.operations.request("numbers", Command.REWIND, '{"position": {"": "4"}}', "oncall")
        await harness.until(lambda: len(harness.published()) == 10)
    assert harness.published() == [*numbers(7), b"5", b"6", b"7"]


async def test_a_paused_source_is_rewound_and_stays_paused() -> None:
    harness = Harness(last=7)
    async with harness.running(harness.poller()) as poller:
        await caught_up(harness, poller)
        await harness.operations.pause("numbers", "oncall", "")
        await harness.until(lambda: poller.status.state is State.PAUSED)
        await harness.operations.request("numbers", Command.REWIND, '"beginning"', "oncall")
        await harness.until(lambda: harness.controls.of("numbers").current.outcome is not None)
        await harness.until(lambda: poller.status.state is State.PAUSED)
        assert (poller.status.position, len(harness.published())) == ({}, 7)
        assert b"numbers" not in await saved(harness)
        await harness.operations.resume("numbers", "oncall")
        await harness.until(lambda: len(harness.published()) == 14)


async def test_a_place_that_the_source_does_not_have_changes_nothing_and_is_said() -> None:
    harness = Harness(last=7)
    async with harness.running(harness.poller()) as poller:
        await caught_up(harness, poller)
        await harness.operations.request("numbers", Command.REWIND, '"end"', "oncall")
        assert (await settled(harness)).error == "this source can be rewound to its beginning and to a position only"
        await harness.operations.request("numbers", Command.REWIND, '{"position": {"": "x"}}', "oncall")
        assert "invalid literal for int()" in ((await settled(harness)).error or "")
        await harness.until(lambda: poller.status.state is State.RUNNING)
    assert harness.published() == numbers(7)
    assert harness.alerts.calls == [], "the request failed, not the source"


class RewindableNumbers(Numbers):
    """Numbers that know their end; the first attempt to find it fails."""

    failures = 1

    async def checkpoint_at(self, place: Literal["beginning", "end"] | datetime) -> Checkpoint:
        match place:
            case "end":
                if RewindableNumbers.failures:
                    RewindableNumbers.failures -= 1
                    raise Unavailable("refused")
                return {"": b"%d" % self.last}
            case "beginning":
                return {"": b"2"}
            case _:
                raise Malformed("numbers have no times")


async def test_a_source_names_its_places_and_an_unavailable_upstream_is_asked_again() -> None:
    harness = Harness(last=7)

    @contextlib.asynccontextmanager
    async def open_source(checkpoint: Checkpoint) -> AsyncIterator[Source]:
        yield RewindableNumbers(int(checkpoint.get("", b"2")) + 1, harness.last, harness.before)

    async with harness.running(harness.poller(open_source=open_source)) as poller:
        await caught_up(harness, poller)
        await harness.operations.request("numbers", Command.REWIND, '"beginning"', "oncall")
        await harness.until(lambda: len(harness.published()) == 10)
        harness.last = 20
        await harness.operations.pause("numbers", "oncall", "")
        await harness.operations.request("numbers", Command.REWIND, '"end"', "oncall")
        await settled(harness)
        await harness.operations.request("numbers", Command.REWIND, '{"time": "2026-01-01T00:00:00Z"}', "oncall")
        assert (await settled(harness)).error == "numbers have no times"
        assert (await saved(harness))[b"numbers"] == b"20"


class ForgetfulStore(MemorySourceStore):
    """Does not take outcomes while `down`, as if the process crashed before it could note them."""

    down = True
    asked = 0

    async def settle(self, source: str, outcome: Outcome) -> None:
        self.asked += 1
        if self.down:
            raise Unavailable("the database does not answer")
        await super().settle(source, outcome)


async def test_a_request_that_was_carried_out_before_a_crash_is_not_carried_out_again() -> None:
    store = ForgetfulStore()
    harness = Harness(last=7, operations=store)
    async with harness.running(harness.poller()) as poller:
        await caught_up(harness, poller)
        await store.request("numbers", Command.REWIND, '"beginning"', "oncall")
        await harness.until(lambda: len(harness.published()) == 14)
        await harness.until(lambda: store.asked > 0)
        assert harness.controls.of("numbers").current.pending is None, "known here"
    store.down = False
    assert (await store.controls())["numbers"].pending is not None
    async with harness.running(harness.poller()) as poller:
        outcome = await settled(harness)
        await harness.until(lambda: poller.status.state is State.RUNNING)
    assert (outcome.error, outcome.result) == (None, {"note": "carried out before a restart"})
    assert harness.published() == numbers(7) * 2, "not three times"


async def test_a_request_is_carried_out_although_the_store_of_an_earlier_one_was_lost() -> None:
    harness = Harness(last=7)
    for times in (2, 3):
        harness.operations = MemorySourceStore()
        async with harness.running(harness.poller()) as poller:
            await caught_up(harness, poller)
            await harness.operations.request("numbers", Command.REWIND, '"beginning"', "oncall")
            assert (await settled(harness)).result == {"from": {"": "7"}, "to": {}, "parts_moved": 1}
            await harness.until(lambda: len(harness.published()) == 7 * times)  # noqa: B023 -- awaited at once


async def test_an_outcome_that_could_not_be_noted_is_noted_later() -> None:
    store = ForgetfulStore()
    harness = Harness(last=7, operations=store)
    async with harness.running(harness.poller()) as poller:
        await caught_up(harness, poller)
        await store.request("numbers", Command.REWIND, '"beginning"', "oncall")
        await harness.until(lambda: len(harness.published()) == 14)
        await harness.until(lambda: store.asked > 0)
        store.down = False
        await harness.controls.refresh()
        assert (await settled(harness)).error is None
        await harness.until(lambda: poller.status.state is State.RUNNING)
    assert harness.published() == numbers(7) * 2


class SnapshotNumbers(Numbers):
    """Publishes the numbers that there are once more, beside new ones, with its progress in the checkpoint."""

    snapshot_at: int | None = None

    async def snapshot(self) -> dict[str, bytes | None]:
        self.snapshot_at = 1
        return {"snapshot": b"1"}

    async def poll(self, limit: int) -> Batch:
        batch = await super().poll(limit)
        if self.snapshot_at is not None:
            batch.records.append(self._builder.event(str(self.snapshot_at), "n", b"%d" % self.snapshot_at))
            self.snapshot_at = self.snapshot_at + 1 if self.snapshot_at < 3 else None
            batch.checkpoint["snapshot"] = None if self.snapshot_at is None else b"%d" % self.snapshot_at
            batch.more = True
        return batch


async def test_a_snapshot_begins_with_its_commit() -> None:
    harness = Harness(last=5)

    @contextlib.asynccontextmanager
    async def open_source(checkpoint: Checkpoint) -> AsyncIterator[Source]:
        source = SnapshotNumbers(int(checkpoint.get("", b"0")) + 1, harness.last, harness.before)
        if "snapshot" in checkpoint:
            source.snapshot_at = int(checkpoint["snapshot"])
        yield source

    async with harness.running(harness.poller(open_source=open_source)) as poller:
        await caught_up(harness, poller)
        await harness.operations.request("numbers", Command.SNAPSHOT, None, "oncall")
        await harness.until(lambda: len(harness.published()) == 8)
        assert (await settled(harness)).error is None
    assert harness.published() == [*numbers(5), *numbers(3)]


async def test_a_source_without_snapshots_says_so() -> None:
    harness = Harness(last=5)
    async with harness.running(harness.poller()) as poller:
        await caught_up(harness, poller)
        await harness.operations.request("numbers", Command.SNAPSHOT, None, "oncall")
        assert (await settled(harness)).error == "this kind of source has no snapshots"


async def saved(harness: Harness) -> dict[bytes, bytes]:
    return dict(await harness.bus.latest(TOPICS.checkpoints, b"numbers"))


async def settled(harness: Harness) -> Outcome:
    """Wait for the outcome of the newest request in the store."""
    async with asyncio.timeout(60):
        while True:
            control = (await harness.operations.controls()).get("numbers")
            if control is not None and control.outcome is not None and control.pending is None:
                return control.outcome
            await asyncio.sleep(0.001)
