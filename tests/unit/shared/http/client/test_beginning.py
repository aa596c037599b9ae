"""Reading the beginning of a response."""

import asyncio
from unittest import mock

import aiohttp
import pytest
from aiohttp.base_protocol import BaseProtocol

from shared.http.client.beginning import beginning


@pytest.mark.parametrize(("limit", "expected"), [(100, b"abcdef"), (6, b"abcdef"), (4, b"abcd"), (2, b"ab")])
async def test_a_body_in_pieces(limit: int, expected: bytes) -> None:
    loop = asyncio.get_running_loop()
    content = aiohttp.StreamReader(mock.create_autospec(BaseProtocol, instance=True), 2**16, loop=loop)
    content.feed_data(b"ab")
    reading = asyncio.create_task(beginning(content, limit))
    for piece in (b"cd", b"ef"):
        await asyncio.sleep(0)
        content.feed_data(piece)
    content.feed_eof()
    assert await reading == expected


async def test_an_empty_body() -> None:
    loop = asyncio.get_running_loop()
    content = aiohttp.StreamReader(mock.create_autospec(BaseProtocol, instance=True), 2**16, loop=loop)
    content.feed_eof()
    assert await beginning(content, 10) == b""
