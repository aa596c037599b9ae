"""When the requests of a trip are sent to Kafka, and when they are answered."""

import statistics
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import Any
from unittest.mock import patch

from shared.bus.kafka.client.connections import BrokerConnections


class RequestTimes:
    """The requests of the trips that are noted, by their kind and their number in the trip."""

    def __init__(self) -> None:
        self._requests: list[tuple[str, float, list[float]]] = []
        self._found: dict[tuple[str, int], list[tuple[float, float]]] = defaultdict(list)
        self._trips = 0

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Record all requests of this process."""
        send = BrokerConnections.send

        async def timed(connections: BrokerConnections, broker: Any, request: Any) -> Any:
            answered: list[float] = []
            kind = type(getattr(request, "_body", request)).__name__
            self._requests.append((kind.partition("Request")[0], perf_counter(), answered))
            try:
                return await send(connections, broker, request)
            finally:
                answered.append(perf_counter())

        with patch.object(BrokerConnections, "send", timed):
            yield

    def begin(self) -> float:
        """Begin a trip; return the time."""
        self._requests.clear()
        return perf_counter()

    def note(self, began: float) -> None:
        """Note the requests of the trip that began at a time and has ended; those without an answer do not count."""
        self._trips += 1
        seen: Counter[str] = Counter()
        for kind, sent, answered in self._requests:
            seen[kind] += 1
            if answered:
                self._found[kind, seen[kind]].append((sent - began, answered[0] - began))

    def lines(self) -> Iterator[str]:
        """Yield a line for each request that at least half of the trips have made, in their order."""
        medians = [
            (*(statistics.median(moments) for moments in zip(*times, strict=True)), *request)
            for request, times in self._found.items()
            if len(times) * 2 >= self._trips
        ]
        for sent, answered, kind, number in sorted(medians):
            yield f"{kind + ' ' + str(number):<32}{sent * 1000:>8.2f} ms{answered * 1000:>9.2f} ms"
