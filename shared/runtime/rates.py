"""How many events are published a second, over the last minute. No I/O; times are of a monotonic clock."""

from collections import deque

_BUCKET = 5.0
_SPAN = 60.0


class Rates:
    """Counts of the last minute, in buckets of 5 seconds."""

    def __init__(self, now: float) -> None:
        self._began = now
        self._buckets: deque[list[float]] = deque()
        """Each: when it began, events, rejects."""

    def add(self, published: int, rejected: int, now: float) -> None:
        """Count events and rejects that were committed now."""
        if not self._buckets or now - self._buckets[-1][0] >= _BUCKET:
            self._buckets.append([now, 0, 0])
        self._buckets[-1][1] += published
        self._buckets[-1][2] += rejected
        self._forget(now)

    def per_second(self, now: float) -> tuple[float, float]:
        """Return events and rejects a second."""
        self._forget(now)
        span = max(1.0, min(_SPAN, now - self._began))
        published = sum(bucket[1] for bucket in self._buckets)
        rejected = sum(bucket[2] for bucket in self._buckets)
        return round(published / span, 3), round(rejected / span, 3)

    def _forget(self, now: float) -> None:
        while self._buckets and now - self._buckets[0][0] >= _SPAN:
            self._buckets.popleft()
