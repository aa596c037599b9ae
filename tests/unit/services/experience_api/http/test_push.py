import asyncio
import gzip
import json
import random
import threading
from collections.abc import Sequence
from ipaddress import ip_address
from typing import Any

import pytest
from multidict import CIMultiDict, MultiDict

from services.experience_api.auth.admission import Budgets
from services.experience_api.http import push
from services.experience_api.http.entity import EntityOptions, Push, PushedEvent, parse_events
from services.experience_api.http.push import Pushes
from services.experience_api.producers.identity import ALLOWED_ADDRESS, Producers
from services.experience_api.producers.once.appender import OnceAppender
from services.experience_api.producers.once.memory import MemoryKeyStore
from services.experience_api.producers.once.options import OnceOptions
from services.experience_api.refusals import (
    ADDRESS_NOT_ALLOWED,
    DRAINING,
    TOO_SLOW,
    UNAVAILABLE,
    UNSUPPORTED_TYPE,
    Refused,
)
from services.experience_api.registry.protocol import Node
from services.experience_api.wire.cursor import CursorCodec
from services.experience_api.wire.frames import event_frame, event_payload
from shared.bus.memory import MemoryBus
from shared.bus.protocol import RECORD_LIMIT, Outgoing
from shared.bus.topics import TopicsOptions
from shared.errors import Malformed, TooLarge, Unavailable
from shared.events.telemetry import parse
from shared.http.origin import Networks, Origin
from shared.runtime.clock import SYSTEM_CLOCK
from shared.runtime.trace import Span, in_span

TOPICS = TopicsOptions()
UNUSED = OnceAppender(MemoryBus(), TOPICS.publish, MemoryKeyStore(bool), lambda: Node("unused", 1), OnceOptions(), str)
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def pushes(timeout: float = 10) -> Pushes:
    options = EntityOptions(allow=("192.0.2.0/24", "2001:db8::/32"), timeout=timeout)
    return making(options)


def making(options: EntityOptions, event_limit: int = RECORD_LIMIT) -> Pushes:
    producers = Producers(options.producers, Networks(options.allow), Budgets(20, 1, 100))
    return Pushes(TOPICS.publish, options, producers, SYSTEM_CLOCK, random.Random(7), lambda: "id-1", event_limit)


def plain(body: str = "{}", headers: dict[str, str] | None = None, query: str = "orders.eu") -> Push:
    lines = CIMultiDict({"Content-Type": "application/json", **(headers or {})})
    return Push(lines, MultiDict({"channel": query} if query else {}), body.encode())


def came_from(address: str) -> Origin:
    return Origin(ip_address(address), proxied=False)


class Failing:
    """An appender whose bus is unavailable, or never answers."""

    def __init__(self, *, hangs: bool) -> None:
        self._hangs = hangs

    async def append(self, topic: str, records: Sequence[Outgoing]) -> None:
        if self._hangs:
            await asyncio.Event().wait()
        raise Unavailable("unavailable")


async def test_accepted_events_are_on_the_bus() -> None:
    bus = MemoryBus()
    await bus.ensure_topics(TOPICS.all())
    async with bus.appender() as appender:
        (pushed,) = (await pushes().append(plain('{"total": 1}'), ALLOWED_ADDRESS, appender, UNUSED)).events
        bounds = await bus.bounds(TOPICS.publish)
        async with bus.reader(TOPICS.publish, {number: first for number, (first, _) in bounds.items()}) as reader:
            (record,) = await reader.read()
    assert pushed.id == "id-1"
    assert record.key == b"orders.eu"
    assert json.loads(record.value or b"")["data"] == {"total": 1}


async def read_body(encodings: list[str], *pieces: bytes, limit: int = 100) -> bytes:
    waiting = [*pieces, b""]

    async def read() -> bytes:
        return waiting.pop(0)

    found = pushes()
    headers = CIMultiDict(("Content-Encoding", each) for each in encodings)
    return await found.body(read, found.reader(headers, limit))


async def test_a_body_arrives_in_pieces_and_compressed() -> None:
    packed = gzip.compress(b"hello")
    assert await read_body([], b"hel", b"lo") == b"hello"
    assert await read_body(["gzip"], packed[:5], packed[5:]) == b"hello"


@pytest.mark.parametrize("encodings", [["br"], ["gzip", "gzip"], ["gzip, gzip"], ["foo"]])
async def test_a_body_of_another_encoding_is_refused_before_it_is_read(encodings: list[str]) -> None:
    with pytest.raises(Refused) as refused:
        await read_body(encodings)
    assert refused.value.refusal is UNSUPPORTED_TYPE


async def test_a_compressed_body_that_ends_in_its_middle_is_refused() -> None:
    with pytest.raises(Malformed, match="ends in the middle of its compression"):
        await read_body(["gzip"], gzip.compress(b"hello")[:-9])


@pytest.mark.parametrize("body", [b"x" * 101, gzip.compress(b"x" * 101)])
async def test_a_body_above_the_limit_is_refused(body: bytes) -> None:
    with pytest.raises(TooLarge, match="exceeds the limit of 100 bytes"):
        await read_body([] if body.startswith(b"x") else ["gzip"], body)


async def test_a_body_that_stops_to_arrive_is_refused() -> None:
    found = making(EntityOptions(body_timeout=0.01))
    with pytest.raises(Refused) as refused:
        await found.body(asyncio.Future[bytes], found.reader(CIMultiDict(), 100))
    assert refused.value.refusal is TOO_SLOW


async def test_large_bodies_are_parsed_outside_of_the_event_loop_one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[threading.Thread] = []
    busy = threading.Lock()

    def parse(*arguments: Any) -> list[PushedEvent]:
        threads.append(threading.current_thread())
        with busy:
            return parse_events(*arguments)

    monkeypatch.setattr(push, "parse_events", parse)
    bus = MemoryBus()
    await bus.ensure_topics(TOPICS.all())
    large = plain('"' + "x" * 40_000 + '"')
    found = pushes()
    async with bus.appender() as appender:
        await found.append(plain(), ALLOWED_ADDRESS, appender, UNUSED)
        assert threads == [threading.main_thread()]
        busy.acquire()
        appends = [asyncio.ensure_future(found.append(large, ALLOWED_ADDRESS, appender, UNUSED)) for _ in range(2)]
        while len(threads) == 1:
            await asyncio.sleep(0)
        assert len(threads) == 2, "the other one waits"
        busy.release()
        assert [(await each).new for each in appends] == [1, 1]
        malformed = plain("[" + "1," * 20_000 + "]")
        with pytest.raises(Malformed, match="trailing comma"):
            await found.append(malformed, ALLOWED_ADDRESS, appender, UNUSED)
    assert threading.main_thread() not in threads[1:]


async def test_a_trace_is_continued_or_started() -> None:
    bus = MemoryBus()
    await bus.ensure_topics(TOPICS.all())
    async with bus.appender() as appender:
        (traced,) = (
            await pushes().append(plain(headers={"traceparent": TRACE}), ALLOWED_ADDRESS, appender, UNUSED)
        ).events
        (started,) = (
            await pushes().append(plain(headers={"traceparent": "nonsense"}), ALLOWED_ADDRESS, appender, UNUSED)
        ).events
    assert parse(json.loads(traced.value)["traceparent"]).trace == parse(TRACE).trace
    assert json.loads(traced.value)["traceparent"] != TRACE
    assert parse(json.loads(started.value)["traceparent"]).trace != parse(TRACE).trace


async def test_events_of_a_request_that_has_a_span_are_its_children() -> None:
    bus, span = MemoryBus(), Span("1" * 32, "2" * 16, sampled=False)
    await bus.ensure_topics(TOPICS.all())
    async with bus.appender() as appender:
        with in_span(span):
            (pushed,) = (await pushes().append(plain(), ALLOWED_ADDRESS, appender, UNUSED)).events
    assert json.loads(pushed.value)["traceparent"] == f"00-{'1' * 32}-{'2' * 16}-00"


@pytest.mark.parametrize("hangs", [False, True], ids=["unavailable", "silent"])
async def test_a_bus_that_does_not_answer_is_a_refusal_with_a_time_to_wait(hangs: bool) -> None:
    with pytest.raises(Refused) as refused:
        await pushes(timeout=0.01).append(plain(), ALLOWED_ADDRESS, Failing(hangs=hangs), UNUSED)
    assert refused.value.refusal is UNAVAILABLE
    assert refused.value.retry_after is not None


async def test_the_frame_of_the_largest_event_fits() -> None:
    """Whatever its cursor: the largest offsets of as many partitions as there are."""
    codec = CursorCodec("e" * 32, TOPICS.partitions)
    size = TOPICS.event_limit - len((await pushed('""')).value)
    largest = (await pushed('"' + "x" * size + '"')).value
    assert len(largest) == TOPICS.event_limit
    frame = event_frame(event_payload(largest), codec.encode([2**63 - 1] * TOPICS.partitions))
    header = 10
    assert TOPICS.largest_frame - 3 <= len(frame) - header <= TOPICS.largest_frame
    with pytest.raises(TooLarge, match=f"event 0: found {TOPICS.event_limit + 1} bytes; expected at most"):
        await pushed('"' + "x" * (size + 1) + '"')


async def pushed(data: str) -> PushedEvent:
    """Push an event under the size limit of the default settings."""
    bus = MemoryBus()
    await bus.ensure_topics(TOPICS.all())
    limit = TOPICS.event_limit
    made = making(EntityOptions(), limit)
    async with bus.appender() as appender:
        (event,) = (await made.append(plain(data), ALLOWED_ADDRESS, appender, UNUSED)).events
    return event


async def test_an_invalid_event_never_reaches_the_bus() -> None:
    with pytest.raises(Malformed, match="channel"):
        await pushes().append(plain(query=""), ALLOWED_ADDRESS, Failing(hangs=True), UNUSED)


@pytest.mark.parametrize("address", ["192.0.2.9", "2001:db8::9"])
def test_networks_of_the_allow_list_may_push(address: str) -> None:
    assert pushes().check(came_from(address), CIMultiDict()) is ALLOWED_ADDRESS


@pytest.mark.parametrize(
    ("where", "said"),
    [
        (came_from("198.51.100.1"), "198.51.100.1 is not on the allow list"),
        (came_from("::1"), "::1 is not on the allow list"),
        (Origin(ip_address("192.0.2.9"), proxied=True, unverified="an untrusted proxy"), "an untrusted proxy"),
        (Origin(None, proxied=True, unverified="the address is not known"), "the address is not known"),
    ],
)
def test_all_other_addresses_are_refused(where: Origin, said: str) -> None:
    with pytest.raises(Refused) as refused:
        pushes().check(where, CIMultiDict())
    assert refused.value.refusal is ADDRESS_NOT_ALLOWED
    assert said in refused.value.detail


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "192.0.2.9"])
def test_without_an_allow_list_nothing_may_be_pushed(address: str) -> None:
    closed = making(EntityOptions())
    with pytest.raises(Refused) as refused:
        closed.check(came_from(address), CIMultiDict())
    assert refused.value.refusal is ADDRESS_NOT_ALLOWED
    assert "experience.entity.allow" in refused.value.detail


def test_nothing_is_accepted_while_draining() -> None:
    accepting = pushes()
    accepting.close()
    with pytest.raises(Refused) as refused:
        accepting.check(came_from("192.0.2.9"), CIMultiDict())
    assert refused.value.refusal is DRAINING
