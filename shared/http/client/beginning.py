"""Reads the beginning of a response."""

import aiohttp


async def beginning(content: aiohttp.StreamReader, limit: int) -> bytes:
    """Return a body, in however many pieces it arrives; of one that is larger the first `limit` bytes.

    Raises what reading the content raises.
    """
    found = bytearray()
    while len(found) < limit and (piece := await content.read(limit - len(found))):
        found += piece
    return bytes(found)
