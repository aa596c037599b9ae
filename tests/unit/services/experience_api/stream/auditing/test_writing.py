"""The audit of a replica, on a topic."""

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Any

import pytest

from services.experience_api.hub.audience import interest_in
from services.experience_api.hub.close_codes import REMOVED
from services.experience_api.hub.connection import Connection
from services.experience_api.hub.heartbeat import Position
from services.experience_api.stream.auditing import writing
from services.experience_api.stream.auditing.writing import Auditing, AuditOptions
from shared.bus.protocol import Outgoing
from shared.errors import TooLarge, Unavailable
from shared.runtime.clock import SystemClock
from tests.unit.services.experience_api.hub.connections import connection
from tests.unit.services.experience_api.hub.transports import FakeTransport


class InstantClock(SystemClock):
    """Sleeps for one round of the loop."""

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(0)


class Recorder:
    """An appender that can fail."""

    def __init__(self) -> None:
        self.records: list[Outgoing] = []
        self.failures = 0
        self.largest = 1_000_000

    async def append(self, topic: str, records: Sequence[Outgoing]) -> None:
        await asyncio.sleep(0)
        assert topic == "trelay.audit"
        if self.failures:
            self.failures -= 1
            raise Unavailable("no leader")
        if any(len(each.value or b"") > self.largest for each in records):
            raise TooLarge("above the limit of the topic")
        self.records += records

    def shown(self) -> list[dict[str, Any]]:
        return [json.loads(record.value or b"") for record in self.records]

    async def expect(self, count: int) -> None:
        async with asyncio.timeout(60):
            while len(self.records) < count:
                await asyncio.sleep(0.001)


@contextlib.asynccontextmanager
async def auditing(recorder: Recorder) -> AsyncIterator[Auditing]:
    audit = Auditing(recorder, "trelay.audit", "experience-0", AuditOptions(), InstantClock())
    running = asyncio.create_task(audit.run())
    try:
        yield audit
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running


def connected(cursor: bytes = b"a") -> Connection:
    one = connection(FakeTransport(), "orders.*")
    one.position = lambda: Position(cursor, 0, live=True)
    return one


async def test_a_connection_has_a_record_of_its_beginning_of_each_range_and_of_its_end() -> None:
    recorder = Recorder()
    async with auditing(recorder) as audit:
        one = connected()
        audit.begin(one, b"a")
        await recorder.expect(1)
        one.position = lambda: Position(b"b", 0, live=True)
        await recorder.expect(2)
        one.end(REMOVED)
        audit.end(one)
        audit.end(one)
        await recorder.expect(3)
    assert [(each["kind"], each["after"], each["written"]) for each in recorder.shown()] == [
        ("opened", "a", "a"),
        ("delivered", "a", "b"),
        ("closed", "b", "b"),
    ]
    assert (recorder.shown()[2]["code"], recorder.records[0].key) == (REMOVED.code, b"client")


async def test_an_outage_loses_no_record_and_the_last_ones_are_written_at_the_end() -> None:
    recorder = Recorder()
    async with auditing(recorder) as audit:
        recorder.failures = 5
        for _ in range(3):
            audit.begin(connected(), b"a")
        await recorder.expect(3)
        audit.begin(connected(), b"a")
    assert len({each["connection_id"] for each in recorder.shown()}) == 4


async def test_a_range_has_no_events_of_what_the_connection_received_earlier() -> None:
    recorder = Recorder()
    async with auditing(recorder) as audit:
        one = connected()
        audit.begin(one, b"a")
        for cursor, channel in ((b"b", "stock"), (b"b", "prices"), (b"c", "news")):
            one.subscriber = replace(one.subscriber, interest=interest_in([channel]))
            one.changed(cursor)
        one.position = lambda: Position(b"d", 0, live=True)
        one.end(REMOVED)
        audit.end(one)
        await recorder.expect(4)
    assert [(each["after"], each["written"], each["channels"]) for each in recorder.shown()] == [
        ("a", "a", ["orders.*"]),
        ("a", "b", ["orders.*"]),
        ("b", "c", ["prices"]),
        ("c", "d", ["news"]),
    ]


async def test_one_that_has_ended_already_is_not_audited() -> None:
    recorder = Recorder()
    async with auditing(recorder) as audit:
        one = connected()
        one.end(REMOVED)
        audit.begin(one, b"a")
        audit.end(one)
    assert recorder.records == []


async def test_a_record_that_is_too_large_for_the_topic_holds_up_no_other(caplog: pytest.LogCaptureFixture) -> None:
    recorder = Recorder()
    recorder.largest = 5000
    async with auditing(recorder) as audit:
        for names in (["a"], [f"orders.{number}" for number in range(1000)], ["b"]):
            one = connected()
            one.subscriber = replace(one.subscriber, interest=interest_in(names))
            audit.begin(one, b"a")
        await recorder.expect(2)
        audit.begin(connected(), b"a")
        await recorder.expect(3)
    assert [each["channels"] for each in recorder.shown()] == [["a"], ["b"], ["orders.*"]]
    assert [each.__dict__["count"] for each in caplog.records if each.message == "audit records dropped"] == [1]


async def test_records_beyond_the_queue_are_counted(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "_QUEUE", 2)
    recorder = Recorder()
    async with auditing(recorder) as audit:
        for _ in range(5):
            audit.begin(connected(), b"a")
        await recorder.expect(2)
    assert [(each.message, each.__dict__["count"]) for each in caplog.records if each.levelno == logging.ERROR] == [
        ("audit records dropped", 3)
    ]
