"""WebSocket peers over TLS: connect, and read until they end. `python -m benchmarks.tls_peers PORT COUNT`."""

import asyncio
import ssl
import sys
from typing import cast

import uvloop

_UPGRADE = (
    b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


class _Peer(asyncio.Protocol):
    """Reads and forgets; no run lasts so long that a ping has to be answered."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        cast("asyncio.WriteTransport", transport).write(_UPGRADE)  # of uvloop, which derives from no class


async def main(port: int, count: int) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    loop = asyncio.get_running_loop()
    kept = [await loop.create_connection(_Peer, "127.0.0.1", port, ssl=context) for _ in range(count)]
    await asyncio.Event().wait()
    del kept


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), int(sys.argv[2])))
