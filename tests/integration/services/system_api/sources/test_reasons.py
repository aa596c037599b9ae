"""Why an upstream cannot be reached, in the words of the system, whatever its client library makes of them."""

import asyncio
import contextlib
import gc
import random
from collections.abc import Mapping
from typing import Any

import pytest
from pydantic import TypeAdapter

from services.system_api.sources.registry import AnySource, build_source
from shared.errors import Unavailable
from shared.runtime.clock import SYSTEM_CLOCK

SETTINGS: Mapping[str, dict[str, Any]] = {
    "kafka": {"kind": "kafka", "servers": "AT", "topics": ["t"]},
    "mqtt": {"kind": "mqtt", "url": "mqtt://AT", "topics": ["t"]},
    "mqtts": {"kind": "mqtt", "url": "mqtts://AT", "topics": ["t"]},
    "nats": {"kind": "nats", "url": "nats://AT", "stream": "s"},
    "rabbitmq": {"kind": "rabbitmq", "url": "amqp://AT/", "queue": "q"},
    "amqps": {"kind": "rabbitmq", "url": "amqps://AT/", "queue": "q"},
    "redis": {"kind": "redis", "url": "redis://AT", "stream": "s"},
    "rediss": {"kind": "redis", "url": "rediss://AT", "stream": "s"},
    "sqs": {
        "kind": "sqs",
        "url": "http://AT/1/q",
        "region": "r",
        "access_key_id": "a",
        "secret_access_key": "s",
        "long_poll": 1,
        "network": {"allow": ["127.0.0.1"]},
    },
    "mysql": {"kind": "table", "url": "mysql://u@AT/d", "table": "t", "key": "id", "updated_at_column": "u"},
    "postgresql": {"kind": "table", "url": "postgresql://u@AT/d", "table": "t", "key": "id", "updated_at_column": "u"},
}
_SOURCES: TypeAdapter[Any] = TypeAdapter(AnySource)


async def reason(kind: str, at: str, **more: float) -> str:
    """Return why a source of this kind cannot be opened."""
    given = {name: text.replace("AT", at) if isinstance(text, str) else text for name, text in SETTINGS[kind].items()}
    options = _SOURCES.validate_python({"type": "t", **given, **more})
    # Their libraries read files when they are imported.
    open_source = await asyncio.to_thread(build_source, "s", options, SYSTEM_CLOCK, random.Random(1))
    with pytest.raises(Unavailable) as raised:
        async with open_source({}) as source:
            await source.poll(1)
    return str(raised.value)


@pytest.mark.parametrize("kind", SETTINGS)
async def test_a_refused_connection_and_an_unknown_host_have_the_words_of_the_system(kind: str) -> None:
    assert (await reason(kind, "127.0.0.1:1")).endswith(": connection refused")
    unknown = await reason(kind, "no-such-host.invalid:1")
    assert unknown.endswith((": name or service not known", ": temporary failure in name resolution"))


@pytest.mark.parametrize("kind", ["mqtts", "amqps", "rediss"])
async def test_a_server_without_tls_is_said(kind: str) -> None:
    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        assert (await reason(kind, f"127.0.0.1:{port}")).endswith(
            ": the server answers without TLS; connect to its port for TLS, or without TLS"
        )


@pytest.mark.parametrize("kind", SETTINGS)
async def test_a_connection_that_is_closed_at_once_leaves_no_error_behind(kind: str) -> None:
    found: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: found.append(context))

    async def close(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with await asyncio.start_server(close, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        await reason(kind, f"127.0.0.1:{port}")
    await asyncio.to_thread(gc.collect)  # as it may happen in any thread
    assert found == []


@pytest.mark.parametrize("kind", [kind for kind, given in SETTINGS.items() if given["kind"] not in {"kafka", "table"}])
async def test_a_connection_that_is_not_answered_is_closed(kind: str) -> None:
    """A broker that answers late would take it for that of the source."""
    opened = 0
    closed = asyncio.Semaphore(0)

    async def wait(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal opened
        opened += 1
        with contextlib.suppress(ConnectionError):
            await reader.read()
        writer.close()
        closed.release()

    async with await asyncio.start_server(wait, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        assert "did not answer" in await reason(kind, f"127.0.0.1:{port}", connect_timeout=0.3)
        assert opened
        async with asyncio.timeout(5):
            for _ in range(opened):
                await closed.acquire()
