"""A bound that is applied some time after it was observed, for values that applications hold before they write them."""

from typing import Generic

from services.system_api.sources.table.entries import Order

_KEPT = 64
"""Observations that are kept: the delay is exceeded by a 64th at most."""


class Delayed(Generic[Order]):
    """Returns each bound once it is `delay` seconds old."""

    def __init__(self, delay: float) -> None:
        self._delay = delay
        self._observed: list[tuple[float, Order]] = []

    def observe(self, bound: Order | None, now: float) -> Order | None:
        """Add the bound of now; return the one of `delay` seconds ago, None if there is none yet.

        `now` is in seconds of a monotonic clock.
        """
        if self._delay == 0:
            return bound
        observed = self._observed
        if bound is not None and (not observed or now - observed[-1][0] >= self._delay / _KEPT):
            observed.append((now, bound))
        while len(observed) > 1 and observed[1][0] <= now - self._delay:
            observed.pop(0)
        return observed[0][1] if observed and observed[0][0] <= now - self._delay else None
