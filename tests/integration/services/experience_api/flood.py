"""Connects with invalid tokens as fast as possible: `python -m … URL SECONDS`. Prints the count of each status.

Every second request is an upgrade, the others are those of browsers.
"""

import asyncio
import sys
from collections import Counter
from time import monotonic

SOCKETS = 20
_TOKEN = b"Authorization: Bearer eyJhbGciOiJIUzI1NiJ9.e30.%d\r\n\r\n"
UPGRADE = (
    b"GET /ws/publish HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" + _TOKEN
)
REQUESTS = (
    UPGRADE,
    b"GET /sse/publish HTTP/1.1\r\nHost: localhost\r\n" + _TOKEN,
    UPGRADE,
    b"GET /events?ticket=eyJhbGciOiJIUzI1NiJ9.e30.%d HTTP/1.1\r\nHost: localhost\r\n\r\n",
    UPGRADE,
    b"POST /tickets HTTP/1.1\r\nHost: localhost\r\n" + _TOKEN,
)


async def flood(host: str, port: int, until: float, responses: Counter[str]) -> None:
    number = 0
    while monotonic() < until:
        reader, writer = await asyncio.open_connection(host, port)
        writer.write(REQUESTS[number % len(REQUESTS)] % number)
        head = await reader.readuntil(b"\r\n\r\n")
        responses[head.split()[1].decode()] += 1
        number += 1
        writer.close()


async def main(url: str, seconds: float) -> None:
    host, _, port = url.removeprefix("http://").rpartition(":")
    responses: Counter[str] = Counter()
    print("started", flush=True)
    await asyncio.gather(*(flood(host, int(port), monotonic() + seconds, responses) for _ in range(SOCKETS)))
    print(" ".join(f"{status}={count}" for status, count in responses.items()))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], float(sys.argv[2])))
