"""A subscriber that goes from replica to replica, with its cursor as its only luggage."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from time import monotonic
from typing import Any, NamedTuple

import websockets

from tests.e2e.audit import Sighting
from tests.e2e.feeding import sighting
from tests.e2e.hops import source
from tests.e2e.subscribing import RecordingSubscriber


class Arrival(NamedTuple):
    """When and from which replica an event came."""

    at: float
    """Seconds of the monotonic clock."""
    url: str
    source: str
    event: Sighting


@dataclass
class RoamingSubscriber(RecordingSubscriber):
    """Keeps when each event came, and not the events: there are many."""

    urls: Sequence[str] = ()
    rng: random.Random = field(default_factory=random.Random)
    arrivals: list[Arrival] = field(default_factory=list)
    _socket: websockets.ClientConnection | None = None

    @property
    def count(self) -> int:
        """How many events came."""
        return len(self.arrivals)

    @property
    def arrived_at(self) -> list[float]:
        """When each event came."""
        return [arrival.at for arrival in self.arrivals]

    @property
    def last_arrival(self) -> float:
        """When the last event came; 0 before the first."""
        return self.arrivals[-1].at if self.arrivals else 0.0

    def move(self) -> None:
        """Connect to another replica while events arrive."""
        socket, self._socket = self._socket, None
        if socket is not None:
            socket.transport.abort()

    def sightings(self, name: str) -> list[Sighting]:
        """Return the events of a source, as they came."""
        return [arrival.event for arrival in self.arrivals if arrival.source == name]

    def repeated(self) -> list[tuple[Arrival, Arrival]]:
        """Return the events that came again: each time, the arrival before and the one again."""
        met: dict[tuple[str, Sighting], list[Arrival]] = {}
        for arrival in self.arrivals:
            met.setdefault((arrival.source, arrival.event), []).append(arrival)
        return [pair for found in met.values() for pair in pairwise(found)]

    def _keep(self, event: dict[str, Any]) -> None:
        self.arrivals.append(Arrival(monotonic(), self.url, source(event), sighting(event)))

    def _connected(self, socket: websockets.ClientConnection) -> None:
        self._socket = socket

    def _disconnected(self) -> None:
        """Try another replica, as a load balancer does."""
        self._socket = None
        self.url = self.rng.choice([url for url in self.urls if url != self.url])
