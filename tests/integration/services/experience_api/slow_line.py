"""Delivers a large event over a slow line: `unshare -n python -m …`, in a network of its own. Prints what happened."""

import asyncio
import json
import subprocess
import time
from pathlib import Path

from services.experience_api.hub.close_codes import TOO_SLOW
from tests.integration.services.experience_api.streams import (
    TOPIC,
    eventually,
    memory_bus,
    publish,
    streaming,
    subscribed,
)

RATE = "240kbit"
SIZE = 90_000
"""Bytes of an event: three seconds on that line, and six times every timeout below."""
OPTIONS = {
    "catch_up": {"drain_timeout": 0.5},
    "close_timeout": 0.5,
    "hub": {"heartbeat": {"seconds": 0.5}},
}


def slow_down() -> None:
    """Make the loopback of this network a slow line with small buffers at both ends."""
    for command in (
        "ip link set lo mtu 1500 up",
        f"tc qdisc add dev lo root tbf rate {RATE} burst 3kb limit 20kb",
    ):
        subprocess.run(command.split(), check=True)
    for name in ("tcp_wmem", "tcp_rmem"):
        Path(f"/proc/sys/net/ipv4/{name}").write_text("4096 16384 16384")


async def main() -> None:
    bus = await memory_bus()
    async with streaming(bus, TOPIC, OPTIONS) as stream, subscribed(stream, ping_interval=None, max_queue=1) as peer:
        began = time.monotonic()
        await publish(bus, TOPIC, "a", range(1), size=SIZE)
        ids = await peer.ids(1)
        took = time.monotonic() - began
        ended = [reason.name for reason in stream.endings]
        # Now the peer stops to read, and goes on once it has been given up.
        peer.socket.transport.pause_reading()
        await publish(bus, TOPIC, "a", range(1, 2), size=SIZE)
        await eventually(lambda: stream.connections[0].ending is TOO_SLOW)
        peer.socket.transport.resume_reading()
        closed = await peer.closed()
        print(json.dumps({"ids": ids, "took": took, "ended": ended, "closed": closed}))


if __name__ == "__main__":
    slow_down()
    asyncio.run(main())
