"""The process under test of `fanout`, `subscribers`, `crowd`, `snapshots` and `idle_memory`: delivers a topic to all.

Reads commands as lines on its standard input and answers each with a line: `connected N` once there are N connections;
`deliver N` with the nanoseconds of CPU that it took until N more deliveries were made; `memory` with its bytes; `cpu`
with the nanoseconds of CPU that it has taken; `live` once no connection catches up; `snapshots N` with the events of
all snapshots once N have begun and none is being sent.

A connection may ask for a filter by `filter=one`, which all share, or `filter=own`, for conflation in seconds by
`conflate`, for a place to resume from by `cursor`, and for the latest events first by `snapshot`.
"""

import asyncio
import gc
import json
import ssl
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from uuid import uuid4

import psutil
import uvloop
from aiohttp import web
from pydantic import TypeAdapter

from services.experience_api.hub.audience import Subscriber, interest_in
from services.experience_api.latest.opening import Latest, opened
from services.experience_api.latest.options import LatestOptions
from services.experience_api.stream.callbacks import Callbacks
from services.experience_api.stream.control_events import Receipt
from services.experience_api.stream.delivery import Delivery
from services.experience_api.stream.options import DeliveryOptions
from services.experience_api.wire.deflate import CompressionOptions
from shared.bus.connect import BusOptions, connect
from shared.bus.memory import MemoryBus
from shared.bus.protocol import Bus, TopicOptions
from shared.database.options import DatabaseOptions
from shared.runtime.allocation import keep_freed_memory
from shared.runtime.run import settle

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_POLL_INTERVAL = 0.05

COMPRESSION = CompressionOptions(enabled=True, min_bytes=1)
"""For the peers that offer it."""

TOPIC = TopicOptions(name="trelay.publish", partitions=4)


async def _bus(stack: AsyncExitStack, options: str, database: str) -> Bus:
    """Return the bus that other processes use too, or one in memory if none is named."""
    if not options:
        bus = MemoryBus()
        await bus.ensure_topics([TOPIC])
        return bus
    bus_options: BusOptions = TypeAdapter(BusOptions).validate_json(options)
    return await stack.enter_async_context(connect(bus_options, DatabaseOptions.model_validate_json(database)))


async def _latest(stack: AsyncExitStack, options: str, database: str) -> Latest | None:
    """Return the latest events to send snapshots of; None without options. Another process copies them."""
    if not options:
        return None
    found = LatestOptions.model_validate_json(options)
    return await stack.enter_async_context(opened(found, DatabaseOptions.model_validate_json(database)))


async def _ignore(_subscriber: Subscriber, _message: bytes) -> Receipt:
    """Ignore a message: none is sent."""
    return Receipt("")


def _bare(heartbeat: float | None) -> tuple[Handler, Callable[[], int]]:
    """Return a handler that does only what aiohttp does for a connection."""
    connected = 0

    async def handle(request: web.Request) -> web.StreamResponse:
        nonlocal connected
        socket = web.WebSocketResponse(compress=False, heartbeat=heartbeat)
        await socket.prepare(request)
        connected += 1
        async for _ in socket:
            pass
        return socket

    return handle, lambda: connected


def _delivering(delivery: Delivery) -> tuple[Handler, Callable[[], int]]:
    """Return a handler of the layer that admits every request."""

    async def handle(request: web.Request) -> web.StreamResponse:
        query = request.query
        number = query.get("number", "0")
        filters = {"one": "fill != 'none'", "own": f"fill != 'none{number}'"}
        asked = {"bench.fanout": filters[query["filter"]]} if "filter" in query else {}
        interest = interest_in(["bench.fanout"], asked, float(query.get("conflate", 0)))
        subscriber = Subscriber(uuid4(), f"client-{delivery.counts.connections}", interest)
        cursor = query.get("cursor")
        if "snapshot" in query:
            cursor = await delivery.beginning.cursor(cursor, None, interest)
        return (await delivery.serve(request, subscriber, cursor)).response

    return handle, lambda: delivery.counts.connections


async def _answer(command: str, number: int, connected: Callable[[], int], delivery: Delivery | None) -> int:
    if command == "cpu":
        return time.process_time_ns()
    if command in {"live", "snapshots"}:
        assert delivery is not None
        return await (_live(delivery) if command == "live" else _snapshots(delivery, number))
    if command == "memory":
        gc.collect()
        return int(psutil.Process().memory_full_info().uss)
    if command == "connected":
        while connected() < number:  # noqa: ASYNC110 -- only a benchmark polls it
            await asyncio.sleep(_POLL_INTERVAL)
        settle()
        return number
    assert command == "deliver"
    assert delivery is not None
    wanted = delivery.counts.hub.deliveries + number
    started = time.process_time_ns()
    while delivery.counts.hub.deliveries < wanted:
        await asyncio.sleep(_POLL_INTERVAL)
        if delivery.counts.hub.lagging:
            raise RuntimeError("the peers did not keep up; run again on an idle machine")
    return time.process_time_ns() - started


async def _live(delivery: Delivery) -> int:
    while delivery.counts.catching_up:  # noqa: ASYNC110 -- only a benchmark polls it
        await asyncio.sleep(_POLL_INTERVAL)
    return 1


async def _snapshots(delivery: Delivery, number: int) -> int:
    counts = delivery.counts
    while counts.snapshots.begun < number or counts.receiving_snapshots:
        await asyncio.sleep(_POLL_INTERVAL)
        counts = delivery.counts
    return counts.snapshots.events


def _tls(certificate: str) -> ssl.SSLContext | None:
    if not certificate:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


async def main(what: str, options: str, database: str, certificate: str = "", latest: str = "") -> None:
    keep_freed_memory()  # as the services do
    async with AsyncExitStack() as stack:
        delivery = None
        if what == "layer":
            bus = await _bus(stack, options, database)
            callbacks = Callbacks(lambda _subscriber: None, _ignore, lambda _source, _seconds: None)
            kept = await _latest(stack, latest, database)
            delivery = await stack.enter_async_context(
                Delivery(bus, TOPIC.name, DeliveryOptions(compression=COMPRESSION), callbacks=callbacks, latest=kept)
            )
            while delivery.problem:  # noqa: ASYNC110 -- the same
                await asyncio.sleep(_POLL_INTERVAL)
        handle, connected = _bare(json.loads(options)) if delivery is None else _delivering(delivery)
        app = web.Application()
        app.router.add_get("/", handle)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0, backlog=1024, ssl_context=_tls(certificate)).start()
        print(runner.addresses[0][1], flush=True)
        while line := await asyncio.to_thread(sys.stdin.readline):
            command, _, number = line.strip().partition(" ")
            print(await _answer(command, int(number or 0), connected, delivery), flush=True)


if __name__ == "__main__":
    uvloop.run(main(*sys.argv[1:]))
