"""Requests as bytes."""

import asyncio
from urllib.parse import urlsplit

from tests.integration.services.experience_api.replicas import Replica


async def answer(replica: Replica, request: bytes) -> tuple[int, dict[str, str], bytes]:
    """Send these bytes; return the status, the headers and the body of the answer."""
    found = urlsplit(replica.url)
    reader, writer = await asyncio.open_connection(found.hostname, found.port)
    try:
        async with asyncio.timeout(60):
            writer.write(request)
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            first, *lines = head.strip().split("\r\n")
            headers = dict(line.split(": ", 1) for line in lines)
            length = 0 if request.startswith(b"HEAD") else int(headers.get("Content-Length", "0"))
            return int(first.split()[1]), headers, await reader.readexactly(length)
    finally:
        writer.close()
