"""Tells clients when to retry while they cannot be served: later and later, and each at a time of its own.

One answer for all, a second for example, makes every client of a service come back in the same second, again and again.
"""

import random

from services.experience_api.refusals import BUSY, UNAVAILABLE, Refused
from shared.runtime.clock import Clock

_LONGEST = 30.0
"""Seconds to which the time to wait grows, and after which a refusal without another is a new outage."""


class RetryAfter:
    """The time to wait, of one endpoint."""

    def __init__(self, clock: Clock, rng: random.Random) -> None:
        self._clock = clock
        self._rng = rng
        self._since: float | None = None
        self._latest = 0.0

    def served(self) -> None:
        """Note that a request was served: the next refusal is a new outage."""
        self._since = None

    def spread(self, refused: Refused) -> Refused:
        """Return the refusal with a time to wait between its own and that plus the duration of the outage."""
        if refused.refusal not in {UNAVAILABLE, BUSY}:
            return refused
        now = self._clock.monotonic()
        if self._since is None or now - self._latest > 2 * _LONGEST:
            self._since = now
        self._latest = now
        least = refused.retry_after or 1.0
        longest = min(_LONGEST, max(least, now - self._since))
        return Refused(refused.refusal, refused.detail, retry_after=least + self._rng.uniform(0, longest))
