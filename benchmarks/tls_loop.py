"""The limit of TLS in Python: one buffer, written to many TLS connections in a loop, with nothing around it.

`python -m benchmarks.tls_loop CERTIFICATE COUNT SIZE ROUNDS PAUSE` prints its port, takes COUNT connections and what
each sends, writes SIZE bytes to each of them ROUNDS times, and prints the nanoseconds of CPU that one write took.
"""

import asyncio
import ssl
import sys
import time
from typing import cast

import uvloop


class _Taken(asyncio.Protocol):
    """One connection; it is taken once it has sent something."""

    def __init__(self, taken: list[asyncio.Transport], count: int, everybody: asyncio.Event) -> None:
        self._taken, self._count, self._everybody = taken, count, everybody

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # of uvloop, which derives from no class

    def data_received(self, _data: bytes) -> None:
        self._taken.append(self._transport)
        if len(self._taken) == self._count:
            self._everybody.set()


async def main(certificate: str, count: int, size: int, rounds: int, pause: float) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    taken: list[asyncio.Transport] = []
    everybody = asyncio.Event()
    server = await asyncio.get_running_loop().create_server(
        lambda: _Taken(taken, count, everybody), "127.0.0.1", 0, ssl=context, backlog=1024
    )
    print(server.sockets[0].getsockname()[1], flush=True)
    await everybody.wait()
    data, began = b"x" * size, time.process_time_ns()
    for _ in range(rounds):
        for transport in taken:
            transport.write(data)
        await asyncio.sleep(pause)
    print((time.process_time_ns() - began) // (count * rounds), flush=True)


if __name__ == "__main__":
    certificate, *numbers = sys.argv[1:]
    connections, length, times = map(int, numbers[:3])
    uvloop.run(main(certificate, connections, length, times, float(numbers[3])))
