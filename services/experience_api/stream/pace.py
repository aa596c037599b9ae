"""Limits how many messages of a connection are handled a second. Sans-I/O; times are of a monotonic clock."""


class Pace:
    """A token bucket that holds what is handled in one second, and one message at least."""

    def __init__(self, per_second: float, now: float) -> None:
        self._rate = per_second
        self._full = max(1.0, per_second)
        self._left = self._full
        self._at = now

    def take(self, now: float) -> float:
        """Take one message; return the seconds after which it may be handled."""
        self._left = min(self._full, self._left + (now - self._at) * self._rate) - 1
        self._at = now
        return max(0.0, -self._left / self._rate)
