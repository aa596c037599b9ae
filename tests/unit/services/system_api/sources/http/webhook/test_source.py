"""The inbox as a source, through its opener."""

import json
import random
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest

from services.system_api.sources.capabilities import Probing, Rewinding
from services.system_api.sources.http.webhook.inbox.delivery import Delivery, Limits
from services.system_api.sources.http.webhook.inbox.memory import MemoryInbox
from services.system_api.sources.http.webhook.opening import WebhookSourceKind
from services.system_api.sources.http.webhook.source import WebhookSource
from services.system_api.sources.source import Batch
from shared.errors import Malformed, SettingsError, Unavailable
from shared.runtime.clock import SYSTEM_CLOCK

NAME = "hooks"
LIMITS = Limits(1000, 1 << 30)


class Reading:
    """Opens the source, and keeps what was committed."""

    def __init__(self, **given: Any) -> None:
        self.inbox = MemoryInbox(SYSTEM_CLOCK)
        verify = {"kind": "github", "secrets": ["s"]}
        self.options = WebhookSourceKind.model_validate({"kind": "webhook", "type": "t", "verify": verify} | given)
        self.checkpoint: dict[str, bytes] = {}

    async def store(self, *bodies: bytes) -> None:
        await self.inbox.store(NAME, [Delivery(None, body) for body in bodies], LIMITS)

    @asynccontextmanager
    async def opened(self, checkpoint: Mapping[str, bytes] | None = None) -> AsyncIterator[WebhookSource]:
        opener = self.options.opener(NAME, SYSTEM_CLOCK, random.Random(1), self.inbox)
        async with opener(dict(self.checkpoint) if checkpoint is None else checkpoint) as source:
            yield cast("WebhookSource", source)

    def commit(self, batch: Batch) -> None:
        self.checkpoint |= {part: value for part, value in batch.checkpoint.items() if value is not None}

    async def waiting(self) -> int:
        return (await self.inbox.fill(NAME)).rows


def data(batch: Batch) -> list[Any]:
    return [json.loads(record.value or b"")["data"] for record in batch.records]


async def test_a_list_is_published_in_parts_and_removed_when_all_of_it_is() -> None:
    reading = Reading()
    await reading.store(b"[1,2,3]", b"4")
    async with reading.opened() as source:
        first = await source.poll(2)
        assert (data(first), first.more, first.rows) == ([1, 2], True, 2)
        reading.commit(first)
        await source.settle(first)
        assert await reading.waiting() == 2
    async with reading.opened() as source:  # as after a crash
        second = await source.poll(10)
        assert (data(second), second.more) == ([3, 4], False)
        reading.commit(second)
        await source.settle(second)
        assert await reading.waiting() == 0
        assert not await source.poll(10)


async def test_what_is_published_and_not_removed_is_not_published_again() -> None:
    reading = Reading()
    await reading.store(b"1", b"2")
    async with reading.opened() as source:
        reading.commit(await source.poll(1))
    assert await reading.waiting() == 2
    async with reading.opened() as source:
        assert await reading.waiting() == 1
        assert data(await source.poll(10)) == [2]


async def test_rejects_and_empty_lists_are_counted_as_rows() -> None:
    reading = Reading()
    await reading.store(b"{no json", b"[]", b"1")
    async with reading.opened() as source:
        batch = await source.poll(10)
    assert (len(batch.records), len(batch.rejects), batch.skipped, batch.rows) == (1, 1, 1, 3)


async def test_what_could_not_be_removed_is_removed_by_the_next_poll() -> None:
    reading = Reading()
    await reading.store(b"1")
    async with reading.opened() as source:
        batch = await source.poll(10)
        reading.inbox.problem = "away"
        with pytest.raises(Unavailable):
            await source.settle(batch)
        with pytest.raises(Unavailable):
            await source.poll(10)
        reading.inbox.problem = None
        assert await reading.waiting() == 1
        await source.poll(10)
        assert await reading.waiting() == 0


async def test_a_full_inbox_is_a_problem() -> None:
    reading = Reading(inbox_limit=2)
    await reading.store(b"1", b"2")
    async with reading.opened() as source:
        batch = await source.poll(10)
        assert batch.problems == ("the inbox is full (2 deliveries, 2 bytes): senders get 503",)
        await source.settle(batch)
        assert (await source.poll(10)).problems == ()


async def test_another_inbox_is_read_from_its_beginning(caplog: pytest.LogCaptureFixture) -> None:
    reading = Reading()
    await reading.store(b"1", b"2")
    async with reading.opened() as source:
        reading.commit(await source.poll(10))
    reading.inbox = MemoryInbox(SYSTEM_CLOCK)
    await reading.store(b"3")
    async with reading.opened() as source:
        assert data(await source.poll(10)) == [3]
    assert "webhook inbox is not the one of the checkpoint; reading all of it" in caplog.messages


async def test_rewinding() -> None:
    reading = Reading()
    await reading.store(b"1", b"2")
    async with reading.opened() as source:
        assert isinstance(source, Rewinding)
        assert await source.checkpoint_at("beginning") == {}
        end = await source.checkpoint_at("end")
        with pytest.raises(Malformed, match="no place for a time"):
            await source.checkpoint_at(SYSTEM_CLOCK.now())
    async with reading.opened(end) as source:
        assert await reading.waiting() == 0
        await reading.store(b"3")
        assert data(await source.poll(10)) == [3]


@pytest.mark.parametrize("checkpoint", [{"": b"[]"}, {"x": b"1"}, {"": b'{"v":2,"epoch":"e","position":0,"items":0}'}])
async def test_a_checkpoint_of_another_source_is_refused(checkpoint: dict[str, bytes]) -> None:
    with pytest.raises(SettingsError, match=r"^system\.sources\.hooks: the checkpoint is"):
        async with Reading().opened(checkpoint):
            pass


async def test_wakes_up_when_something_is_stored() -> None:
    reading = Reading()
    async with reading.opened() as source:
        await source.poll(1)
        await reading.store(b"1")
        await source.wait_for_change()


async def test_without_a_database_there_are_no_webhooks() -> None:
    opener = Reading().options.opener(NAME, SYSTEM_CLOCK, random.Random(1))
    with pytest.raises(SettingsError, match="needs the database"):
        async with opener({}):
            pass


async def test_a_probe_takes_nothing() -> None:
    options = Reading().options
    assert isinstance(options, Probing)
    assert await options.probe(NAME) == "senders deliver to POST /hooks/hooks"
