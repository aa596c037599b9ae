"""Everything that can be wrong with what people give us, given to one process at once, and what came of it."""

import asyncio
import io
import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
from pydantic import TypeAdapter

from services.experience_api.auth.clients import add_client
from services.experience_api.registry.postgres import PostgresRegistry
from services.standalone.embedded.process import free_port
from shared.bus.connect import BusOptions, connect
from shared.database.migrations import migrate
from shared.database.options import DatabaseOptions
from tests.e2e.deployments import Placed, one_process_of
from tests.e2e.subscribing import RecordingSubscriber

CLIENT, SECRET = "guest", "a secret of the tests"
WRONG_PASSWORD = "wrong-and-still-nobody's-business"
MALFORMED = b'{"sensor": "a", oops}'
KEYLESS = b'{"number": 7}'
BINARY = b"\x00\xff\xfe\x9c PNG \x07"
HUGE = b'{"sensor": "huge", "note": "' + b"x" * 2 * 1024 * 1024 + b'"}'
_LINES = (
    b'{"sensor": "a", "number": 1}',
    MALFORMED,
    KEYLESS,
    b'{"sensor": "a", "number": 2}',
    HUGE,
    BINARY,
    b'{"sensor": "a", "number": 3}',
)
_ROWS = (b"sku,name,on_hand", b"1,tea,5", b"2,too few", b"3,tea,many", b"4," + BINARY + b",1", b"5,tea,7")
_RAW = (
    {"id": 1, "number": 1, "channel": "routed.one"},
    {"id": 2, "number": 2},
    {"id": 3, "number": "no number", "channel": "routed.one"},
    {"id": 4, "number": 4, "channel": "no channel!"},
    {"id": 5, "number": 5, "channel": "routed.one"},
)
_TABLE = """
CREATE TABLE people (id int UNIQUE, name text);
CREATE SEQUENCE people_ids OWNED BY people.id;
ALTER TABLE people ALTER COLUMN id SET DEFAULT nextval('people_ids');
INSERT INTO people VALUES (1, 'Ada'), (NULL, 'Nobody'), (3, NULL), (4, 'Grace');
SELECT setval('people_ids', 4);
"""
_BUS = {"kind": "postgres", "topics": {"prefix": "bad", "partitions": 2}}
_QUICK = {"interval": 0.1, "retry": {"attempts": 2, "first_wait": 0.1, "longest_wait": 0.5}}
_TIMEOUT = 240.0
DEAD = 12
"""Dead letters that there must be."""


@dataclass(frozen=True)
class DeadLetter:
    """One record of the dead-letter topic."""

    value: bytes
    error: str
    origin: str
    stage: str


@dataclass(frozen=True)
class Answer:
    """One response to a request that is refused."""

    status: int
    detail: str


@dataclass
class Observed:
    """Everything that is observed of the run."""

    folder: Path
    port: int
    """Of the database."""
    closed_port: int
    """A port without a listener."""
    dead: list[DeadLetter] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)
    answers: dict[str, Answer] = field(default_factory=dict)
    readyz: dict[str, Any] = field(default_factory=dict)
    sources: dict[str, Any] = field(default_factory=dict)
    log: str = ""
    status: int | None = None

    def of(self, source: str) -> list[Any]:
        """Return the data of a source's events."""
        return [event["data"] for event in self.events if event["source"] == f"/sources/{source}"]

    def dead_letter_of(self, value: bytes) -> DeadLetter:
        """Return the one dead letter with this value."""
        (found,) = [letter for letter in self.dead if letter.value == value]
        return found


async def give_bad_input(folder: Path, dsn: str, port: int) -> Observed:
    """Run one process on the database of `dsn`, give it everything, and return what was seen."""
    observed = Observed(folder, port, free_port())
    system_port = free_port()
    deployment = one_process_of(folder, _settings(observed, dsn, system_port))
    (program,) = deployment.programs
    (folder / "drop").mkdir()
    for name in ("good.ndjson", "lines.ndjson", "raw.ndjson"):
        (folder / name).touch()
    await _prepare(dsn)
    subscriber = RecordingSubscriber(deployment.url, CLIENT, SECRET)
    try:
        await deployment.start()
        async with asyncio.TaskGroup() as tasks:
            subscribing = tasks.create_task(subscriber.run())
            await subscriber.connected()
            await _feed(folder, dsn)
            await _send_requests(deployment, subscriber.token, observed.answers)
            _append(folder / "good.ndjson", b'{"n": 2}')
            await subscriber.expect(11, _TIMEOUT)
            observed.dead = await _dead_letters(dsn, DEAD)
            observed.readyz = await _json(f"http://127.0.0.1:{system_port}/readyz")
            observed.sources = await _json(f"http://127.0.0.1:{system_port}/sources")
            # The missing file appears.
            (folder / "not-yet").mkdir()
            _append(folder / "not-yet" / "late.ndjson", b'{"n": 1}')
            _append(folder / "good.ndjson", b'{"n": 3}')
            await subscriber.expect(13, _TIMEOUT)
            (observed.status,) = await deployment.stop()
            subscribing.cancel()
    finally:
        deployment.kill()
    observed.events = subscriber.events
    observed.log = program.log.read_text()
    return observed


def _settings(observed: Observed, dsn: str, system_port: int) -> dict[str, Any]:
    folder = observed.folder
    down = f"postgresql://trelay@127.0.0.1:{observed.closed_port}/shop"
    refused = f"postgresql://trelay:{WRONG_PASSWORD}@127.0.0.1:{observed.port}/trelay"
    return {
        "database": {"url": dsn},
        "bus": _BUS,
        "logs": {"format": "text", "level": "info"},
        "system": {
            "listen": {"port": system_port},
            "sources": {
                "good": _file(folder / "good.ndjson", "n", "good"),
                "lines": _file(folder / "lines.ndjson", "sensor", "lines"),
                "rows": _file(folder / "drop" / "*.csv", "sku", "rows")
                | {"mode": "drop", "csv": {"types": {"on_hand": "integer"}}, "drop": {"ready": "renamed"}},
                "raw": _file(folder / "raw.ndjson", "id", None),
                "late": _file(folder / "not-yet" / "late.ndjson", "n", "late"),
                "down": _table(down, "orders", "down"),
                "refused": _table(refused, "people", "refused"),
                "people": _table(dsn, "people", "people") | {"subject": "name"},
            },
        },
        "experience": {"entity": {"allow": ["127.0.0.0/8"]}},
        "process": {
            "pipelines": {
                "routed": {
                    "sources": ["raw"],
                    "steps": [{"map": '{"half": number / 2, "channel": channel}'}, {"route": "channel"}],
                }
            }
        },
    }


def _file(path: Path, subject: str, channel: str | None) -> dict[str, Any]:
    options = {"kind": "file", "path": str(path), "subject": subject, "type": "line", **_QUICK}
    return options if channel is None else options | {"channel": channel}


def _table(url: str, table: str, channel: str) -> dict[str, Any]:
    return {"kind": "table", "url": url, "table": table, "type": "row", "channel": channel, **_QUICK}


async def _prepare(dsn: str) -> None:
    options = DatabaseOptions(url=dsn)
    await migrate(options)
    async with PostgresRegistry.opened(options) as registry:
        await add_client(registry, CLIENT, secret=SECRET)


async def _feed(folder: Path, dsn: str) -> None:
    connection = await asyncpg.connect(dsn)
    await connection.execute(_TABLE)
    await connection.close()
    _append(folder / "good.ndjson", b'{"n": 1}')
    _append(folder / "lines.ndjson", *_LINES)
    _append(folder / "raw.ndjson", *(json.dumps(line).encode() for line in _RAW))
    half_written = folder / "stock.half"
    half_written.write_bytes(b"\n".join(_ROWS) + b"\n")
    half_written.rename(folder / "drop" / "stock.csv")


def _append(path: Path, *lines: bytes) -> None:
    with path.open("ab") as file:
        file.write(b"".join(line + b"\n" for line in lines))


async def _send_requests(deployment: Placed, token: str, answers: dict[str, Answer]) -> None:
    """Send requests that must be refused."""
    url = deployment.url
    byte = "A" if token[-10] != "A" else "B"
    altered = {"Authorization": f"Bearer {token[:-10]}{byte}{token[-9:]}"}
    upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
    upgrade["Sec-WebSocket-Key"] = "AAAAAAAAAAAAAAAAAAAAAA=="
    # One connection each: after some of these requests, the server closes it.
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as session:

        async def ask(
            name: str, path: str, headers: Mapping[str, str], body: bytes = b"", method: str = "POST"
        ) -> None:
            async with session.request(method, url + path, headers=headers, data=io.BytesIO(body)) as answer:
                answers[name] = Answer(answer.status, (await answer.json(content_type=None))["detail"])

        json_type = {"Content-Type": "application/json"}
        await ask("secret", "/consumers", {"client_id": CLIENT, "client_secret": WRONG_PASSWORD})
        await ask("token", "/ws/publish", altered | upgrade, method="GET")
        await ask("huge", "/entity?channel=pushed", json_type, HUGE)
        await ask("binary", "/entity?channel=pushed", json_type, BINARY)
        await ask("not gzip", "/entity?channel=pushed", json_type | {"Content-Encoding": "gzip"}, b"{}")
        cloud_event = b'{"specversion": "1.0", "id": "1", "source": "/x", "type": "t", "data": 1}'
        await ask("no channel", "/entity", {"Content-Type": "application/cloudevents+json"}, cloud_event)


async def _dead_letters(dsn: str, count: int) -> list[DeadLetter]:
    """Return the dead letters once there are `count`, or those that there are after the timeout."""
    options: BusOptions = TypeAdapter(BusOptions).validate_python(_BUS)
    found: list[DeadLetter] = []
    async with connect(options, DatabaseOptions(url=dsn)) as bus:
        bounds = await bus.bounds(options.topics.dead_letter)
        first = {partition: begin for partition, (begin, _) in bounds.items()}
        async with bus.reader(options.topics.dead_letter, first) as reader:
            while records := await reader.read(wait=2.0 if len(found) >= count else _TIMEOUT):
                for record in records:
                    headers = {name: value.decode() for name, value in record.headers}
                    letter = DeadLetter(record.value or b"", headers["error"], headers["origin"], headers["stage"])
                    found.append(letter)
    return found


async def _json(url: str) -> dict[str, Any]:
    def ask() -> dict[str, Any]:
        try:
            with urllib.request.urlopen(url, timeout=60) as answer:
                return dict(json.load(answer))
        except urllib.error.HTTPError as exc:
            return dict(json.load(exc))

    return await asyncio.to_thread(ask)
