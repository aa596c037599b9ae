"""Records for the benchmarks of the buses."""

import json
import random

from shared.bus.protocol import Outgoing
from shared.events.headers import headers_of


def events(count: int) -> list[Outgoing]:
    """Make records of about 1 KB, as the services write them: JSON that compresses as JSON does, one header."""
    rng = random.Random(1)
    made = []
    for number in range(count):
        data = {
            "id": number,
            "customer": rng.randrange(10**6),
            "items": [{"sku": f"{rng.getrandbits(32):08x}", "qty": 1, "price": rng.random()} for _ in range(12)],
        }
        event = {
            "specversion": "1.0",
            "id": f"orders:{number}",
            "source": "/sources/orders",
            "type": "order.updated",
            "channel": "orders.eu",
            "traceparent": f"00-{rng.getrandbits(128):032x}-{rng.getrandbits(64):016x}-01",
            "data": data,
        }
        headers = list(headers_of(b"orders 1700000000000 orders:%d" % number))
        made.append(Outgoing(b"%d" % (number % 500), json.dumps(event).encode(), headers))
    return made
