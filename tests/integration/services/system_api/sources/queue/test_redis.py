"""What is special about Redis: trimmed and replaced streams, and groups that others have read.

The contract suite of sources tests the rest (tests/contracts/source/test_redis.py).
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from redis.asyncio import Redis

from services.system_api.sources.queue.redis.opening import RedisSourceKind
from services.system_api.sources.queue.redis.stream import RedisStream
from shared.errors import SettingsError, Unauthorized, Unavailable
from tests.integration.services.system_api.sources.queue.reading import Reading, fail_once
from tests.servers.redis import RedisServer, redis_server


@pytest.fixture
async def client(redis: RedisServer) -> AsyncIterator[Redis]:
    async with Redis.from_url(redis.url) as client:
        yield client


@pytest.fixture
def reading(redis: RedisServer, unique_name: str) -> Callable[..., Reading]:
    def make(**settings: Any) -> Reading:
        given = {"kind": "redis", "url": redis.url, "stream": unique_name, "field": "data", "type": "t", **settings}
        return Reading(RedisSourceKind.model_validate(given))

    return make


async def send(client: Redis, stream: str, *bodies: bytes) -> list[bytes]:
    ids: list[Any] = [await client.xadd(stream, {"data": body}) for body in bodies]
    return ids


async def pending(client: Redis, stream: str, group: str = "trelay-s") -> int:
    return int((await client.xpending(stream, group))["pending"])


async def test_what_is_missing_or_refused_is_said(reading: Callable[..., Reading], unique_name: str) -> None:
    with pytest.raises(Unavailable, match=f"Redis stream '{unique_name}' does not exist; its owner must create it"):
        await reading().once()
    with pytest.raises(Unavailable, match=r"Redis at 127.0.0.1:1: "):
        await reading(url="redis://127.0.0.1:1").once()


async def test_a_server_that_loses_entries_is_refused() -> None:
    context = redis_server("--appendonly", "no", "--requirepass", "p", "--maxmemory", "50mb")
    server = await asyncio.to_thread(context.__enter__)
    try:
        given = {"kind": "redis", "stream": "s", "type": "t"}
        for wrong in ("", ":wrong@"):
            url = server.url.replace("//", f"//{wrong}")
            with pytest.raises(Unauthorized, match="set `url` and `password`"):
                await Reading(RedisSourceKind.model_validate({**given, "url": url})).once()
        url = server.url.replace("//", "//:p@")
        async with Redis.from_url(url) as client:
            await client.xadd("s", {"a": "1"})
            with pytest.raises(SettingsError, match=r"^system.sources.s.stream: .* accept: \[no_aof\]"):
                await Reading(RedisSourceKind.model_validate({**given, "url": url})).once()
            accepting = {**given, "url": url, "accept": ["no_aof"]}
            assert await Reading(RedisSourceKind.model_validate(accepting)).once() == [{"a": "1"}]
    finally:
        await asyncio.to_thread(context.__exit__, None, None, None)


async def test_a_probe_changes_nothing(client: Redis, reading: Callable[..., Reading], unique_name: str) -> None:
    await send(client, unique_name, b"1")
    assert await reading().options.probe("s") == f"stream '{unique_name}', 1 entries; no group yet"
    assert await client.xinfo_groups(unique_name) == []


async def test_everything_is_acknowledged(client: Redis, reading: Callable[..., Reading], unique_name: str) -> None:
    await send(client, unique_name, b"1", b"2", b"no json")
    read = reading()
    await read.until(2)
    await read.once()
    assert await pending(client, unique_name) == 0
    (group,) = await client.xinfo_groups(unique_name)
    assert group["lag"] == 0
    assert len(read.rejects) == 1


async def test_what_is_trimmed_before_it_is_read_is_reported(
    client: Redis, reading: Callable[..., Reading], unique_name: str
) -> None:
    read = reading()
    ids = await send(client, unique_name, b"1")
    await read.until(1)
    ids += await send(client, unique_name, b"2", b"3", b"4")
    await client.xtrim(unique_name, minid=ids[-1], approximate=False)
    await read.until(2)
    assert read.numbers == [1, 4]
    (loss,) = read.losses
    assert f"2 entries after {ids[0].decode()} were removed before they were read" in loss.text
    await read.once()
    assert len(read.losses) == 1


async def test_a_stream_that_is_created_again_is_read_from_its_beginning(
    client: Redis, reading: Callable[..., Reading], unique_name: str
) -> None:
    read = reading()
    await send(client, unique_name, b"1", b"2", b"3")
    await read.until(3)
    await client.delete(unique_name)
    with pytest.raises(Unavailable, match="does not exist"):
        await read.once()
    await send(client, unique_name, b"4", b"5")
    await read.until(5)
    assert read.numbers == [1, 2, 3, 4, 5]
    assert ["created again" in loss.text for loss in read.losses] == [True], read.losses
    assert len(set(read.ids)) == 5


async def test_a_stream_that_is_created_again_is_reported_though_the_connection_fails(
    client: Redis, reading: Callable[..., Reading], unique_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next connection finds a stream that it continues to read."""
    read = reading()
    await send(client, unique_name, b"1")
    async with read.opened() as source:
        await read.through(source, 1)
        await client.delete(unique_name)
        await send(client, unique_name, b"2")
        failed = fail_once(monkeypatch, RedisStream, "_take_over")
        await read.through(source, 2)
    assert failed
    assert read.numbers == [1, 2]
    assert ["created again" in loss.text for loss in read.losses] == [True], read.losses


@pytest.mark.parametrize("by_owner", [False, True], ids=["no group", "group of its owner"])
@pytest.mark.parametrize("count", [2, 3, 5])
async def test_a_stream_with_explicit_ids_that_is_created_again_is_read_from_its_beginning(
    client: Redis, reading: Callable[..., Reading], unique_name: str, count: int, by_owner: bool
) -> None:
    read = reading()
    for number in (1, 2, 3):
        await client.xadd(unique_name, {"data": number}, id=f"{number}-1")
    await read.until(3)
    await client.delete(unique_name)
    if by_owner:
        await client.xgroup_create(unique_name, "trelay-s", id="0", mkstream=True)
    for number in range(1, count + 1):
        await client.xadd(unique_name, {"data": 10 * number}, id=f"{number}-1")
    await read.until(3 + count)
    assert read.numbers == [1, 2, 3, *(10 * number for number in range(1, count + 1))]
    assert ["created again" in loss.text for loss in read.losses] == [True], read.losses
    assert len(set(read.ids)) == 3 + count


async def test_a_stream_that_its_owner_creates_again_with_the_group_while_it_is_read(
    client: Redis, reading: Callable[..., Reading], unique_name: str
) -> None:
    read = reading()
    for number in (1, 2, 3):
        await client.xadd(unique_name, {"data": number}, id=f"{number}-1")
    async with read.opened() as source:
        await read.through(source, 3)
        await client.delete(unique_name)
        await client.xgroup_create(unique_name, "trelay-s", id="0", mkstream=True)
        for number in (1, 2, 3, 4):
            await client.xadd(unique_name, {"data": 10 * number}, id=f"{number}-1")
        await read.through(source, 7)
    assert read.numbers == [1, 2, 3, 10, 20, 30, 40]
    assert ["created again" in loss.text for loss in read.losses] == [True], read.losses
    assert len(set(read.ids)) == 7


async def test_a_stream_whose_group_is_destroyed_continues(
    client: Redis, reading: Callable[..., Reading], unique_name: str
) -> None:
    read = reading()
    for number in (1, 2, 3):
        await client.xadd(unique_name, {"data": number}, id=f"{number}-1")
    await read.until(3)
    await client.xgroup_destroy(unique_name, "trelay-s")
    await client.xadd(unique_name, {"data": 4}, id="4-1")
    await read.until(4)
    assert (read.numbers, read.losses) == ([1, 2, 3, 4], [])


async def test_orphans_of_an_earlier_consumer_come_first_and_what_it_acknowledged_does_not(
    client: Redis, reading: Callable[..., Reading], unique_name: str
) -> None:
    ids = await send(client, unique_name, b"1", b"2", b"3", b"4")
    await client.xgroup_create(unique_name, "theirs", id="0")
    await client.xreadgroup("theirs", "gone", {unique_name: ">"}, count=3)
    await client.xack(unique_name, "theirs", ids[0], ids[2])
    read = reading(group="theirs")
    await read.until(2)
    await read.once()
    assert read.numbers == [2, 4]
    assert await pending(client, unique_name, "theirs") == 0


async def test_another_consumer_of_the_group_is_said_and_nothing_is_lost(
    client: Redis, reading: Callable[..., Reading], unique_name: str
) -> None:
    read = reading()
    await send(client, unique_name, b"1")
    async with read.opened() as source, asyncio.timeout(60):
        while len(read.events) < 1:
            await read.step(source)
        await send(client, unique_name, b"2", b"3")
        await client.xreadgroup("trelay-s", "another", {unique_name: ">"}, count=1)
        with pytest.raises(Unavailable, match="another process reads group 'trelay-s'"):
            await read.step(source)
        while len(read.events) < 3:
            await read.step(source)
    assert read.numbers == [1, 2, 3]
    assert await pending(client, unique_name) == 0


async def test_a_source_that_is_rewound_reads_again_with_the_same_ids(
    client: Redis, reading: Callable[..., Reading], unique_name: str
) -> None:
    read = reading()
    await send(client, unique_name, b"1", b"2", b"3")
    await read.until(3)
    again = reading()
    await again.resumed(read).once()
    assert again.events == []
    again.saved = {}
    await client.xgroup_setid(unique_name, "trelay-s", "0")
    await again.until(3)
    assert again.ids == read.ids


async def test_a_message_that_kills_its_process_is_parked_and_redelivery_is_counted(
    client: Redis, reading: Callable[..., Reading], unique_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await send(client, unique_name, b"1", b"2", b"3", b"4")
    read = reading(max_deliveries=4)
    await read.until_parked(b"3", 3, monkeypatch)
    assert read.redelivered >= 1
    assert read.numbers == [1, 2, 4]


async def test_entries_are_taken_within_the_bound_in_bytes(
    client: Redis, reading: Callable[..., Reading], unique_name: str
) -> None:
    large = b'"%s"' % (b"x" * 50_000)
    await send(client, unique_name, *[b"1"] * 62, *[large] * 40)
    read = reading(prefetch_bytes=200_000)
    sizes: list[int] = []
    async with read.opened() as source, asyncio.timeout(60):
        while len(read.events) < 102:
            before = len(read.events)
            await read.step(source)
            sizes.append(sum(len(str(each["data"])) for each in read.events[before:]))
    first = next(index for index, size in enumerate(sizes) if size >= 50_000)
    assert max(sizes[first + 1 :]) <= 200_000, "once it is known how large entries are"


async def test_an_entry_with_a_field_twice_is_put_aside(
    client: Redis, reading: Callable[..., Reading], unique_name: str
) -> None:
    execute: Any = client.execute_command
    await execute("XADD", unique_name, "*", "data", "1", "k", "a", "k", "b")
    await execute("XADD", unique_name, "*", "data", "7", "data", "8")
    await send(client, unique_name, b"2")
    read = reading()
    await read.until(2)
    assert read.numbers == [1, 2]
    assert [reject.value for reject in read.rejects] == [b"data=7\ndata=8"]
