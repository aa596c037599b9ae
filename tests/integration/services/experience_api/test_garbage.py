"""What is refused, and what has ended, leaves nothing for the garbage collector.

It is to run seldom, and all else stands still while it does: for 0.1 s where a flood has left it a hundred thousand
objects.
"""

import asyncio
import gc
from collections.abc import Iterator

import pytest

from services.experience_api.hub.connection import Connection
from services.experience_api.hub.websocket import Socket
from services.experience_api.sessions.slots import ConnectionSlot
from tests.integration.services.experience_api.replicas import JSON, TIMEOUT, Deployment, Headers, Replica

BOGUS = {"Authorization": "Bearer eyJhbGciOiJIUzI1NiJ9.e30.x"}
WRONG = {"Client-Id": "demo", "Client-Secret": "wrong"}
REFUSED: list[tuple[str, str, Headers, bytes | None]] = [
    ("GET", "/sse/publish", BOGUS, None),
    ("GET", "/events", {}, None),
    ("GET", "/events?ticket=x", {}, None),
    ("POST", "/tickets", BOGUS, None),
    ("POST", "/subscriptions", BOGUS, b"{}"),
    ("POST", "/consumers", WRONG, None),
    ("DELETE", "/consumers", WRONG, None),
    ("POST", "/entity?channel=a", JSON, b"{"),
    ("POST", "/entity", JSON, b"{}"),
    ("GET", "/nothing", {}, None),
    ("PUT", "/consumers", {}, None),
]


@pytest.fixture
def garbage() -> Iterator[list[object]]:
    """What only the garbage collector frees, once it is asked to."""
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        yield gc.garbage
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()


def held(garbage: list[object]) -> list[BaseException]:
    """Return the errors of the garbage that hold frames, and with them all that a request consisted of."""
    gc.collect()
    return [each for each in garbage if isinstance(each, BaseException) and each.__traceback__ is not None]


@pytest.mark.parametrize("failures", [1, 1000], ids=["limited", "refused"])
async def test_a_refusal_leaves_no_cycle_of_frames(
    deployment: Deployment, garbage: list[object], failures: int
) -> None:
    limits = {"failures": failures, "failures_per_second": 0.001}
    options = {"handshakes": limits, "registrations": limits, "entity": {"allow": ["127.0.0.0/8"]}}
    async with deployment.replica(options) as replica:
        _ = held(garbage)
        garbage.clear()  # that of the start
        for _ in range(2):
            _ = await replica.upgrade(headers=BOGUS), await replica.request("POST", "/consumers", WRONG)
        statuses = {(await replica.upgrade(headers=BOGUS)).status}
        statuses |= {(await replica.request(*given)).status for given in REFUSED}
        assert statuses == ({400, 404, 405, 429} if failures == 1 else {400, 401, 404, 405})
        assert held(garbage) == []


@pytest.mark.parametrize(
    ("way", "closes"),
    [("/ws/publish?heartbeat=event", True), ("/ws/publish", False), ("/sse/publish", False), ("/events?wait=0", False)],
)
async def test_a_connection_that_ends_is_freed(
    deployment: Deployment, garbage: list[object], way: str, closes: bool
) -> None:
    """A thousand of them, as when a replica drains, would be as many objects as a flood leaves."""
    async with deployment.replica() as replica:
        headers = {"Authorization": f"Bearer {await replica.register()}"}
        _ = held(garbage)
        garbage.clear()  # that of the start
        for _ in range(3):
            if closes:
                async with replica.connect(path=way, headers=headers) as subscription:
                    await subscription.next()
            else:
                await begun_and_left(replica, way, headers)
            await deployment.until_no_connection()
        gc.collect()
        assert [each for each in garbage if isinstance(each, Connection | ConnectionSlot | Socket)] == []


async def begun_and_left(replica: Replica, way: str, headers: Headers) -> None:
    """Send a request, and leave once the response has begun."""
    host, _, port = replica.url.removeprefix("http://").rpartition(":")
    lines = {"Host": "localhost", **headers}
    if way.startswith("/ws/"):
        lines |= {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
        lines |= {"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}
    reader, writer = await asyncio.open_connection(host, int(port))
    text = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    writer.write(f"GET {way} HTTP/1.1\r\n{text}\r\n".encode())
    async with asyncio.timeout(TIMEOUT):
        assert (await reader.readline()).split()[1] in {b"101", b"200"}
    writer.transport.abort()
