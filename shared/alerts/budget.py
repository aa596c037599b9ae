"""The limit of mails an hour: a token bucket. Sans-I/O."""

_HOUR = 3600.0
_NEARLY = 1e-9
"""A token that lacks no more than this is whole: sums of floats are not exact."""


class Budget:
    """Holds `per_hour` tokens and gains as many an hour: any `h` hours have at most `per_hour * (1 + h)` mails."""

    def __init__(self, per_hour: int, now: float) -> None:
        self._per_hour = per_hour
        self._tokens = float(per_hour)
        self._at = now

    def ready_at(self, now: float) -> float:
        """Return when a token is available: now, or later."""
        missing = 1.0 - self._filled(now)
        return now if missing <= _NEARLY else now + missing * _HOUR / self._per_hour

    def spend(self, now: float) -> None:
        """Take one token; only when `ready_at` returns `now`."""
        self._tokens, self._at = self._filled(now) - 1.0, now

    def save(self) -> dict[str, float]:
        """Return the state for a later process, so that repeated crashes of a service do not flood the recipients."""
        return {"tokens": self._tokens, "at": self._at}

    def restore(self, saved: object, now: float) -> None:
        """Take over what was saved; ignore it if it is malformed or lies in the future."""
        if not isinstance(saved, dict):
            return
        tokens, at = saved.get("tokens"), saved.get("at")
        if isinstance(tokens, int | float) and isinstance(at, int | float) and 0 <= at <= now:
            self._tokens, self._at = min(max(float(tokens), 0.0), float(self._per_hour)), float(at)

    def _filled(self, now: float) -> float:
        # A clock that is set back adds nothing and removes nothing.
        gained = max(0.0, now - self._at) * self._per_hour / _HOUR
        return min(float(self._per_hour), self._tokens + gained)
