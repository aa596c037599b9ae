"""Bad input of every kind at once, in one partition: each has one dead letter that names its place; nothing stops."""

import asyncio
import contextlib
import gzip
import json
import sqlite3
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from aiohttp import web

from shared.bus.memory import MemoryBus
from shared.bus.protocol import Outgoing
from shared.events.headers import headers_of
from tests.servers.http_api import HttpApi, http_api
from tests.unit.services.process_api.making import event
from tests.unit.services.process_api.test_routes import running

SUBJECT = "C-1"
FOREVER = "($f := function($n) { $n = 0 ? $n : $f($n + 1) }; $f(go ? 1 : 0))"
NESTED_FOREVER = "($f := function($n) { $n = 0 ? $n : 1 + $f($n + 1) }; $f(go ? 1 : 0))"
AGGREGATE = {"aggregate": {"window": {"tumbling": 60}, "values": {"n": "count"}, "early": 0.01}}
FUTURE = "9999-12-31T23:59:59Z"
COUNTED = {"future", "past", "no_time"}
"""The cases that count their events in windows."""
ENDLESS_BYTES = 2**31


class Case(NamedTuple):
    """One kind of bad input, to a pipeline of its own."""

    error: str
    """What the dead letter begins with."""
    bad: bytes
    steps: tuple[Any, ...] = ({"set": {"data.seen": True}},)
    good: Mapping[str, Any] = MappingProxyType({"n": 1})
    """The entity of an event that passes, before and behind it."""
    foreign: bool = False
    """Whether another program than Trelay wrote the bad record."""


def data(entity: Any = None, /, **attributes: Any) -> bytes:
    return event(entity, subject=SUBJECT, **{"time": "2026-01-01T00:00:00Z", **attributes})


def foreign(error: str, value: bytes) -> Case:
    return Case(f"event: {error}", value, foreign=True)


NO_EVENTS = {
    "no_json": foreign("not a JSON object", b'{"specversion": "1.0", oops}'),
    "no_object": foreign("not a JSON object", b"[1, 2]"),
    "empty": foreign("not a JSON object", b""),
    "not_utf_8": foreign("not UTF-8", data({"n": "?"}).replace(b"?", b"\xff\xfe")),
    "version_2": foreign('specversion is "2.0", expected "1.0"', data({"n": 1}, specversion="2.0")),
    "version_0_3": foreign('specversion is "0.3", expected "1.0"', data({"n": 1}, specversion="0.3")),
    "no_id": foreign("attribute 'id' is missing or empty", data({"n": 1}, id="", source="/sources/no_id")),
    "no_version": foreign("", data({"n": 1}).replace(b'"specversion":"1.0",', b"")),
}
OF_STEPS = {
    "deep": Case(
        "channel: ", data(source="/sources/deep").replace(b"null", b"[" * 9000 + b"]" * 9000), (), foreign=True
    ),
    "zero": Case("steps.0.map: ", data({"n": 1, "of": 0}), ({"map": "n / of"},), {"n": 1, "of": 2}),
    "modulo": Case("steps.0.set: ", data({"n": 1, "of": 0}), ({"set": {"data.x": "=n % of"}},), {"n": 1, "of": 2}),
    "recursion": Case("steps.0.map: ", data({"go": True}), ({"map": NESTED_FOREVER},)),
    "tail_recursion": Case("steps.0.filter: ", data({"go": True}), ({"filter": f"{FOREVER} = 0"},)),
    "memory": Case("steps.0.map: ", data({"n": 2_000_000_000}), ({"map": "$pad('x', n)"},)),
    "python": Case("steps.0.python: ", data({"n": 2}), ({"python": f"{__name__}:nested"},)),
    "schema": Case(
        "steps.0.validate: data.n: ", data({"n": "x"}), ({"validate": {"properties": {"n": {"const": 1}}}},)
    ),
    "future": Case(f"steps.0.aggregate: `time` is {FUTURE}", data({"n": 1}, time=FUTURE), (AGGREGATE,)),
    "past": Case("steps.0.aggregate: `time` is ", data({"n": 1}, time="0001-01-01T00:00:00Z"), (AGGREGATE,)),
    "no_time": Case("steps.0.aggregate: `time` is 'soon'", data({"n": 1}, time="soon"), (AGGREGATE,)),
}


def looked_up(api: HttpApi, database: Path) -> dict[str, Case]:
    """Return the cases with look-ups: the key 2 gets an answer that nothing can be done with."""
    query = "SELECT id, json_extract(doc, '$.name') AS name FROM c WHERE id IN :keys"
    sql = {"sql": {"url": f"sqlite:///{database}", "query": query}, "key": "n", "into": "data.found"}
    found = {"sql_row": Case("steps.0.enrich: ", data({"n": 2}), ({"enrich": sql},))}
    network = {"allow": ["127.0.0.1"]}
    for name in ("html", "cut", "nan", "bomb", "endless"):
        http = {"url": api.url(f"/{name}/{{key}}"), "network": network, "response_limit": 65_536}
        enrich = {"http": http, "key": "n", "into": "data.found"}
        found[name] = Case("steps.0.enrich: ", data({"n": 2}), ({"enrich": enrich},))
    call = {"url": api.url("/html/{n}"), "network": network, "into": "data.found", "method": "GET"}
    found["call"] = Case("steps.0.call: ", data({"n": 2}), ({"call": call},))
    return found


def nested(entity: Any) -> Any:
    """Return a value that is nested too deeply for JSON, unless `n` is 1."""
    value: Any = entity
    for _ in range(0 if entity["n"] == 1 else 100_000):
        value = [value]
    return value


def serve(api: HttpApi) -> None:
    """Give an answer for the key 1, and garbage for the key 2."""

    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": str(ENDLESS_BYTES)})
        await response.prepare(request)
        with contextlib.suppress(ConnectionError):  # the client does not read to the end
            for _ in range(ENDLESS_BYTES // 65_536):
                await response.write(b"[" * 65_536)
        return response

    bomb = gzip.compress(b"[" + b"1," * 2**22 + b"1]")
    for name, answer in {
        "html": (200, {}, b"<html>"),
        "cut": (200, {}, b'{"name": "A'),
        "nan": (200, {}, b'{"name": NaN}'),
        "bomb": (200, {"Content-Encoding": "gzip"}, bomb),
        "endless": endless,
    }.items():
        api.answer(f"/{name}/1", {"name": "Ada"})
        api.answer(f"/{name}/2", answer)


def fill(database: Path) -> None:
    """Make a table of which one row makes a query fail."""
    with contextlib.closing(sqlite3.connect(database)) as connection:
        connection.execute("CREATE TABLE c (id INTEGER, doc TEXT)")
        connection.executemany("INSERT INTO c VALUES (?, ?)", [(1, '{"name": "Ada"}'), (2, "{oops")])
        connection.commit()


def unique(name: str, case: Case) -> bytes:
    """Return the bad input of a case, of which no other one has the same bytes."""
    return case.bad.replace(b'"orders:7"', json.dumps(name).encode())


def records(given: Mapping[str, Case]) -> list[Outgoing]:
    """Return the records of all cases: a good one, the bad one, a good one."""
    found = []
    for name, case in given.items():
        for number, value in enumerate((data(dict(case.good)), unique(name, case), data(dict(case.good)))):
            by_trelay = headers_of(f"{name} 1700000000000 {name}:{number}".encode())
            found.append(Outgoing(SUBJECT.encode(), value, () if number == 1 and case.foreign else by_trelay))
    return found


async def test_each_has_one_dead_letter_that_names_the_place_and_nothing_stops(tmp_path: Path) -> None:
    bus = MemoryBus()
    fill(tmp_path / "customers.db")
    async with http_api() as api:
        serve(api)
        given = NO_EVENTS | OF_STEPS | looked_up(api, tmp_path / "customers.db")
        pipelines = {name: {"sources": [name], "channel": name, "steps": [*case.steps]} for name, case in given.items()}
        async with running(bus, pipelines=pipelines) as service:
            await service.until(lambda found: found["lag"] == 0, "zero")
            async with bus.appender() as appender:
                await appender.append("trelay.ingest", records(given))
            async with asyncio.timeout(60):
                while not (len(letters := dead(bus)) >= len(given) and counted(bus) >= COUNTED):
                    await asyncio.sleep(0.02)
            shown = await service.until(lambda found: found["lag"] == 0, "zero")
    assert {name: wrong for name, case in given.items() if (wrong := difference(name, case, letters))} == {}
    assert len(letters) == len(given)
    assert shown["held"] == []
    passed = Counter(each["channel"] for each in published(bus) if each["channel"] not in COUNTED)
    assert passed == {name: 2 for name in given if name not in COUNTED}


def difference(name: str, case: Case, letters: list[tuple[bytes, str]]) -> Any:
    """Return the errors with which an input is dead-lettered, unless there is one, which is as expected."""
    errors = [error for value, error in letters if value == unique(name, case)]
    return None if len(errors) == 1 and errors[0].startswith(case.error) else errors or "no dead letter"


def dead(bus: MemoryBus) -> list[tuple[bytes, str]]:
    """Return the value and the error of each dead letter."""
    return [(each.value or b"", dict(each.headers)["error"].decode()) for each in bus.records("trelay.dead-letter", 0)]


def published(bus: MemoryBus) -> list[Any]:
    """Return the published events."""
    return [json.loads(each.value or b"") for number in range(4) for each in bus.records("trelay.publish", number)]


def counted(bus: MemoryBus) -> set[str]:
    """Return the pipelines whose windows have counted both good events."""
    return {each["channel"] for each in published(bus) if each["channel"] in COUNTED and each["data"]["n"] == 2}
