"""Headers of NATS messages that a sender has written in its own way."""

import asyncio
import json
from urllib.parse import urlsplit

import pytest
from nats.js import JetStreamContext

from services.system_api.sources.queue.nats.opening import NatsSourceKind
from tests.integration.services.system_api.sources.queue.reading import Reading
from tests.integration.services.system_api.sources.queue.test_nats import create, send
from tests.servers.nats import NatsServer


@pytest.fixture
def read(nats: NatsServer, unique_name: str) -> Reading:
    given = {"kind": "nats", "url": nats.url, "stream": unique_name, "type": "t"}
    return Reading(NatsSourceKind.model_validate(given))


@pytest.mark.parametrize(
    "headers",
    [
        {"Status": "404", "Description": "No Messages"},
        {"Status": "100"},
        {"Status": "409", "Description": "Consumer Deleted"},
        {"Status": "503"},
    ],
)
async def test_a_message_with_the_headers_of_a_status_is_a_message(
    jetstream: JetStreamContext, read: Reading, unique_name: str, headers: dict[str, str]
) -> None:
    """A sender may set any header: it must not stop the source, and neither hide the message."""
    await create(jetstream, unique_name)
    await send(jetstream, unique_name, b"1")
    await jetstream.publish(f"{unique_name}.a", b"", headers=headers)
    await send(jetstream, unique_name, b"2")
    await read.until(2)
    assert read.numbers == [1, 2]
    assert [reject.value for reject in read.rejects] == [b""]


async def send_raw(server: NatsServer, subject: bytes, headers: bytes, body: bytes) -> None:
    """Send a message with a header block that no client library would write."""
    parts = urlsplit(server.url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    try:
        await reader.readline()
        options = json.dumps({"verbose": False, "headers": True}).encode()
        sizes = f"{len(headers)} {len(headers) + len(body)}".encode()
        writer.write(b"CONNECT %b\r\nHPUB %b %b\r\n%b%b\r\nPING\r\n" % (options, subject, sizes, headers, body))
        await writer.drain()
        async with asyncio.timeout(60):
            answers = [await reader.readline()]
            while answers[-1] != b"PONG\r\n":
                assert not answers[-1].startswith(b"-ERR"), answers
                answers.append(await reader.readline())
    finally:
        writer.close()
        await writer.wait_closed()


@pytest.mark.parametrize("headers", [b"NATS/1.0", b"N", b"12345678"])
async def test_a_message_whose_headers_cannot_be_read_is_put_aside(
    nats: NatsServer,
    jetstream: JetStreamContext,
    read: Reading,
    unique_name: str,
    headers: bytes,
) -> None:
    await create(jetstream, unique_name)
    await send(jetstream, unique_name, b"1")
    await send_raw(nats, f"{unique_name}.a".encode(), headers, b"7")
    await send(jetstream, unique_name, b"2")
    await read.until(2)
    assert read.numbers == [1, 2]
    assert [reject.value for reject in read.rejects] == [b"7"]
    assert "the headers cannot be read" in read.rejects[0].error


async def test_a_subject_that_is_not_text_stops_nothing(
    nats: NatsServer, jetstream: JetStreamContext, read: Reading, unique_name: str
) -> None:
    """The server stores it, and nats-py raises an error where nobody sees it, and reads no further."""
    await create(jetstream, unique_name)
    await send(jetstream, unique_name, b"1")
    await send_raw(nats, unique_name.encode() + b".caf\xe9", b"NATS/1.0\r\nA: caf\xe9\r\nB\xff: x\r\n\r\n", b"2")
    await send(jetstream, unique_name, b"3")
    await read.until(3)
    assert read.numbers == [1, 2, 3]
    assert [event["subject"] for event in read.events][1] == rf"{unique_name}.caf\xe9"
