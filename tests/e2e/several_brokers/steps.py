"""Pipelines that wait and that keep state, under the same chaos: what they look up, and what must come out of them."""

import asyncio
import json
import random
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from tests.e2e.audit import Sighting

JUDGED, COUNTED = "judged", "counted"
"""Tables, and the sources, pipelines and channels of their names: one asks an API for each event, one counts."""

_WINDOW, _LATENESS = 2, 2
"""Seconds."""

CLOSES_AFTER = _WINDOW + _LATENESS + 1.0
"""Seconds after the last event in which an event of each partition closes all windows before."""

_TIMEOUT = 1.0
_WORKS_FOR, _FAILS_FOR = (1.0, 8.0), (0.2, 2.5)


def pipelines(port: int) -> dict[str, Any]:
    """Return the settings of the pipelines; the API is at a port of the loopback."""
    lookup = {"url": f"http://127.0.0.1:{port}/{{key}}", "timeout": _TIMEOUT, "network": {"allow": ["127.0.0.1"]}}
    enrich = {"http": lookup, "key": "account", "into": "data.found", "cache": {"ttl": 0.5, "negative_ttl": 0}}
    values = {"number": {"max": "number"}, "events": "count", "total": {"sum": "number"}}
    aggregate = {"window": {"tumbling": _WINDOW}, "lateness": _LATENESS, "values": values}
    return {
        JUDGED: {"sources": [JUDGED], "channel": JUDGED, "steps": [{"enrich": enrich}]},
        COUNTED: {"sources": [COUNTED], "channel": COUNTED, "steps": [{"aggregate": aggregate}]},
    }


@asynccontextmanager
async def failing_api(port: int, rng: random.Random) -> AsyncIterator[Counter[str]]:
    """Serve an API that works for seconds and then fails for some: by 503, by no answer, or by none in time.

    Yields how often it answered in each way.
    """
    loop = asyncio.get_running_loop()
    counts: Counter[str] = Counter()
    mode, until = "answers", loop.time() + _WORKS_FOR[0]

    async def answer(request: web.Request) -> web.StreamResponse:
        nonlocal mode, until
        if loop.time() > until:
            mode = rng.choice(["unavailable", "closes", "hangs"]) if mode == "answers" else "answers"
            until = loop.time() + rng.uniform(*(_WORKS_FOR if mode == "answers" else _FAILS_FOR))
        counts[mode] += 1
        if mode == "unavailable":
            return web.Response(status=503)
        if mode == "closes" and request.transport is not None:
            request.transport.abort()
        if mode == "hangs":
            await asyncio.sleep(2 * _TIMEOUT)
        return web.json_response(found(request.match_info["key"]))

    app = web.Application()
    app.router.add_get("/{key}", answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", port).start()
        yield counts
    finally:
        await runner.cleanup()


def found(account: str) -> dict[str, Any]:
    """Return what the API knows of an account."""
    return {"account": account, "length": len(account)}


def closing(writer: str, partitions: int) -> list[Sighting]:
    """Return events that move the time of every partition on: of more subjects than there are partitions."""
    return [Sighting(f"{writer}.close{number}", 0) for number in range(20 * partitions)]


def counted(events: Iterable[Mapping[str, Any]]) -> int:
    """Return how many events the windows of these results have counted."""
    return sum(event["data"]["events"] for event in events)


def faults(written: Sequence[Sighting], published: Iterable[bytes]) -> list[str]:
    """Return what is wrong in the outputs; `written` are the events of `COUNTED`, without those of `closing`."""
    missing = 0
    windows: list[Mapping[str, Any]] = []
    for event in map(json.loads, published):
        if event["channel"] == COUNTED:
            windows.append(event)
        elif event["channel"] == JUDGED and event["data"].get("found") != found(event["subject"]):
            missing += 1
    wrong = [f"{JUDGED}: {missing} events without what the API knows"] if missing else []
    repeated = [name for name, count in Counter(event["id"] for event in windows).items() if count > 1]
    wrong += [f"{COUNTED}: {len(repeated)} windows gave two results: {repeated[:3]}"] if repeated else []
    expected: Counter[str] = Counter()
    total: Counter[str] = Counter()
    for subject, number in written:
        expected[subject] += 1
        total[subject] += number
    for subject, count in expected.items():
        mine = [event["data"] for event in windows if event["subject"] == subject]
        sums = (sum(each["events"] for each in mine), sum(each["total"] for each in mine))
        if sums != (count, total[subject]):
            wrong.append(f"{COUNTED}: {subject}: counted {sums}, expected {(count, total[subject])}")
    return wrong
