"""Connects with invalid tokens as fast as possible: `python -m … URL COUNT`. Prints the count of each status.

Every second request is an upgrade, the others are those of browsers. It ends when its standard input has ended and this
many requests were sent.
"""

import asyncio
import sys
from collections import Counter

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


class Flood:
    """The requests of all sockets."""

    def __init__(self, host: str, port: int, count: int) -> None:
        self._host, self._port, self._left = host, port, count
        self._told = False
        self.responses: Counter[str] = Counter()

    async def until_told(self) -> None:
        await asyncio.to_thread(sys.stdin.buffer.read)
        self._told = True

    async def send(self) -> None:
        number = 0
        while self._left > 0 or not self._told:
            reader, writer = await asyncio.open_connection(self._host, self._port)
            writer.write(REQUESTS[number % len(REQUESTS)] % number)
            head = await reader.readuntil(b"\r\n\r\n")
            self.responses[head.split()[1].decode()] += 1
            self._left -= 1
            number += 1
            writer.close()


async def main(url: str, count: int) -> None:
    host, _, port = url.removeprefix("http://").rpartition(":")
    flood = Flood(host, int(port), count)
    print("started", flush=True)
    await asyncio.gather(flood.until_told(), *(flood.send() for _ in range(SOCKETS)))
    print(" ".join(f"{status}={count}" for status, count in flood.responses.items()))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
