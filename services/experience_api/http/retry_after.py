"""Tells clients when to retry while they cannot be served: a crowd later and later, and each at a time of its own.

One answer for all, a second for example, makes every client of a service come back in the same second, again and again.
A few clients do no harm so: they need not wait for a time that only a crowd needs.
"""

import random

from services.experience_api.refusals import BUSY, UNAVAILABLE, Refused
from shared.runtime.clock import Clock

_LONGEST = 30.0
"""Seconds to which the time to wait grows, and after which a refusal without another is a new outage."""
_PER_SECOND = 100.0
"""Clients that may come back to an endpoint in a second during an outage: each costs a handshake of TLS."""


class RetryAfter:
    """The time to wait, of one endpoint."""

    def __init__(self, clock: Clock, rng: random.Random) -> None:
        self._clock = clock
        self._rng = rng
        self._since: float | None = None
        self._latest = 0.0
        self._taken_until = 0.0
        """Until then, as many clients as may come back have been told to."""

    def served(self) -> None:
        """Note that a request was served: the next refusal is a new outage."""
        self._since = None

    def spread(self, refused: Refused) -> Refused:
        """Return the refusal with a time to wait: its own, and in an outage up to its duration more.

        During an outage it is not longer than those who were refused need to come back one after the other. How many
        clients a busy service can serve is not known.
        """
        if refused.refusal not in {UNAVAILABLE, BUSY}:
            return refused
        now = self._clock.monotonic()
        if self._since is None or now - self._latest > 2 * _LONGEST:
            self._since = now
        self._latest = now
        least = refused.retry_after or 1.0
        self._taken_until = min(now + _LONGEST, max(self._taken_until, now) + 1 / _PER_SECOND)
        longest = now - self._since
        if refused.refusal is UNAVAILABLE:
            longest = min(longest, self._taken_until - now)
        longest = min(_LONGEST, max(least, longest))
        return Refused(refused.refusal, refused.detail, retry_after=least + self._rng.uniform(0, longest))
