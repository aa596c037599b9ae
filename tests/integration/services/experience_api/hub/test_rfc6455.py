"""The server cases of RFC 6455, in the categories of Autobahn's test suite, over real sockets.

`echo.py` is for Autobahn's own cases, and says which pass. Its cases 6.4 (invalid UTF-8 is noticed before the message
ends) are optional there, and not met: a message is judged once it is whole. `stream/test_compression.py` tests
compression.
"""

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest

from tests.integration.services.experience_api.streams import (
    TIMEOUT,
    TOPIC,
    Stream,
    eventually,
    memory_bus,
    raw_socket,
    streaming,
)
from tests.unit.services.experience_api.wire.masked import masked

PING, CLOSE = masked(0x89, b"are you there"), masked(0x88, (1000).to_bytes(2, "big"))
EURO = "€".encode()
SIZES = (0, 125, 126, 65_536)
SPREAD = [masked(0x01, b"a"), masked(0, b"b"), PING, masked(0, b"c"), PING, masked(0x80, b"d")]


@pytest.fixture
async def stream() -> AsyncIterator[Stream]:
    async with streaming(await memory_bus(), TOPIC) as stream:
        yield stream


async def frames(peer: socket.socket) -> list[tuple[int, bytes]]:
    """Return all frames until the server closes: the first byte and the payload of each."""
    received, loop = b"", asyncio.get_running_loop()
    async with asyncio.timeout(TIMEOUT):
        while chunk := await loop.sock_recv(peer, 100_000):
            received += chunk
    rest, found = received.partition(b"\r\n\r\n")[2], []
    while rest:
        length, head = rest[1], 2
        if length == 126:
            length, head = int.from_bytes(rest[2:4], "big"), 4
        found.append((rest[0], rest[head : head + length]))
        rest = rest[head + length :]
    return found


async def outcome(stream: Stream, sent: list[bytes]) -> tuple[list[bytes], list[bytes], int]:
    """Send these pieces; return the messages that arrived, the payloads of pongs, and the code of the Close frame."""
    peer = await raw_socket(stream, query="send")
    with peer:
        for piece in sent:
            await asyncio.get_running_loop().sock_sendall(peer, piece)
            await asyncio.sleep(0)
        found = await frames(peer)
    await eventually(lambda: len(stream.endings) == 1)
    pongs = [payload for first, payload in found if first == 0x8A]
    assert found[-1][0] == 0x88, "the last frame is a Close frame"
    return stream.inbound, pongs, int.from_bytes(found[-1][1][:2] or b"\x03\xe8", "big")


def bytewise(data: bytes) -> list[bytes]:
    return [data[at : at + 1] for at in range(len(data))]


VALID: dict[str, tuple[list[bytes], list[bytes], list[bytes]]] = {
    "1.1 text": ([masked(0x81, b"x" * size) for size in SIZES], [b"x" * size for size in SIZES], []),
    "1.2 binary": ([masked(0x82, b"\xff" * 128)], [b"\xff" * 128], []),
    "1.2.8 a byte at a time": (bytewise(masked(0x82, b"\xfe" * 300)), [b"\xfe" * 300], []),
    "2.1 a ping without payload": ([masked(0x89, b"")], [], [b""]),
    "2.4 a ping of 125 bytes": ([masked(0x89, b"\xfe" * 125)], [], [b"\xfe" * 125]),
    "2.6 a ping a byte at a time": (bytewise(PING), [], [b"are you there"]),
    "2.7 pongs that were not asked for": ([masked(0x8A, b"x"), PING], [], [b"are you there"]),
    "2.10 ten pings": ([masked(0x89, b"%d" % n) for n in range(10)], [], [b"%d" % n for n in range(10)]),
    "5.3 fragments": ([masked(0x01, b"a") + masked(0x80, b"b")], [b"ab"], []),
    "5.6 a ping between fragments": ([masked(0x01, b"a"), PING, masked(0x80, b"b")], [b"ab"], [b"are you there"]),
    "5.19 pings between many": (SPREAD, [b"abcd"], [b"are you there"] * 2),
    "6.1 empty fragments": ([masked(0x01, b""), masked(0, b""), masked(0x80, b"")], [b""], []),
    "6.2 a character in two fragments": ([masked(0x01, EURO[:1]), masked(0x80, EURO[1:])], [EURO], []),
    "6.5 a character of four bytes": ([masked(0x81, "\U0001f600".encode())], ["\U0001f600".encode()], []),
}  # fmt: skip


@pytest.mark.parametrize(("sent", "messages", "pongs"), VALID.values(), ids=VALID)
async def test_valid_input(stream: Stream, sent: list[bytes], messages: list[bytes], pongs: list[bytes]) -> None:
    assert await outcome(stream, [*sent, CLOSE]) == (messages, pongs, 1000)


INVALID: dict[str, tuple[list[bytes], int]] = {
    "2.5 a ping of 126 bytes": ([masked(0x89, b"x" * 126)], 1002),
    "3.1 reserved bits": ([masked(0xD1, b"x")], 1002),
    "3.3 reserved bits after a message": ([masked(0x81, b"y") + masked(0xB1, b"x") + PING], 1002),
    "4.1 opcode 3": ([masked(0x83, b"")], 1002),
    "4.2 opcode 11": ([masked(0x8B, b"")], 1002),
    "5.1 a fragmented ping": ([masked(0x09, b"a") + masked(0x80, b"b")], 1002),
    "5.9 a continuation of nothing": ([masked(0x80, b"x") + masked(0x81, b"y")], 1002),
    "5.15 a continuation after the end": ([masked(0x01, b"a") + masked(0x80, b"b") + masked(0x00, b"c")], 1002),
    "5.18 a message in a message": ([masked(0x01, b"a") + masked(0x81, b"b")], 1002),
    "6.3 invalid UTF-8": ([masked(0x81, b"\xce\xba\xed\xa0\x80edited")], 1007),
    "6.4 invalid UTF-8 in fragments": ([masked(0x01, b"\xf4"), masked(0x00, b"\x90"), masked(0x80, b"\x80")], 1007),
    "6.6 the beginning of a character": ([masked(0x81, EURO[:2])], 1007),
    "7.3 a Close frame of one byte": ([masked(0x88, b"x")], 1002),
    "7.3 a Close frame of 126 bytes": ([masked(0x88, b"\x03\xe8" + b"x" * 124)], 1002),
    "7.5 invalid UTF-8 in the reason": ([masked(0x88, b"\x03\xe8\xce\xba\xed\xa0\x80")], 1007),
    **{
        f"7.9 code {code}": ([masked(0x88, code.to_bytes(2, "big"))], 1002)
        for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 2000, 2999, 5000, 65535)
    },
    "5.1 of the RFC: no mask": ([b"\x81\x05hello"], 1002),
    "5.2 of the RFC: a length in its longest form": ([b"\x82\xfe\x00\x05\0\0\0\0hello"], 1002),
}


@pytest.mark.parametrize(("sent", "code"), INVALID.values(), ids=INVALID)
async def test_invalid_input_ends_the_connection_with_a_code(stream: Stream, sent: list[bytes], code: int) -> None:
    assert (await outcome(stream, sent))[2] == code


@pytest.mark.parametrize("code", [1000, 1001, 1003, 1008, 1011, 3000, 3999, 4000, 4999])
async def test_valid_codes_are_answered(stream: Stream, code: int) -> None:
    """7.7: the codes that an endpoint may send."""
    messages, _, answered = await outcome(stream, [masked(0x88, code.to_bytes(2, "big")) + masked(0x81, b"late")])
    assert (messages, answered) == ([], 1000)
