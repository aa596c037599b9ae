"""How many mails an hour may have: a bucket of tokens, sans-I/O."""

_HOUR = 3600.0
_NEARLY = 1e-9
"""A token that lacks no more than this is one: floats that are added up do not meet exactly."""


class Budget:
    """At most `per_hour` at once, and as many again in each hour: in any `h` hours at most `per_hour * (1 + h)`."""

    def __init__(self, per_hour: int, now: float) -> None:
        self._per_hour = per_hour
        self._tokens = float(per_hour)
        self._at = now

    def ready_at(self, now: float) -> float:
        """Return when something may be spent: now, or later."""
        missing = 1.0 - self._filled(now)
        return now if missing <= _NEARLY else now + missing * _HOUR / self._per_hour

    def spend(self, now: float) -> None:
        """Take one token, of those that `ready_at` says are there."""
        self._tokens, self._at = self._filled(now) - 1.0, now

    def save(self) -> dict[str, float]:
        """Return what a later process needs to go on: a service that fails and starts over must not start a flood."""
        return {"tokens": self._tokens, "at": self._at}

    def restore(self, saved: object, now: float) -> None:
        """Go on from what was saved; what is no such thing, or lies in the future, is passed over."""
        if not isinstance(saved, dict):
            return
        tokens, at = saved.get("tokens"), saved.get("at")
        if isinstance(tokens, int | float) and isinstance(at, int | float) and 0 <= at <= now:
            self._tokens, self._at = min(max(float(tokens), 0.0), float(self._per_hour)), float(at)

    def _filled(self, now: float) -> float:
        # A clock that is set back fills nothing, and takes nothing away.
        gained = max(0.0, now - self._at) * self._per_hour / _HOUR
        return min(float(self._per_hour), self._tokens + gained)
