"""When the next request may be sent: within the budget of the settings, and not before the server wants it. No I/O.

The budget is a token bucket that starts full, in the form of the generic cell rate algorithm (ITU-T I.371): one number
holds its state.
"""

from pydantic import Field

from shared.settings import Options


class RateOptions(Options):
    """A request budget."""

    requests: int = Field(ge=1)
    """Requests that may be sent in `seconds`."""

    seconds: float = Field(default=1.0, gt=0, le=86_400)
    """The time in seconds that `requests` counts for."""

    burst: int = Field(default=1, ge=1)
    """Requests that may be sent at once after a pause; after that they are evenly spaced."""


class Pace:
    """The pace of the requests of one source. All times are in monotonic seconds."""

    def __init__(self, rate: RateOptions | None) -> None:
        self._interval = 0.0 if rate is None else rate.seconds / rate.requests
        self._slack = 0.0 if rate is None else self._interval * (min(rate.burst, rate.requests) - 1)
        self._due = 0.0
        """When the next request would be sent if all were evenly spaced."""
        self._held_until = 0.0

    def wait(self, now: float) -> float:
        """Return the seconds until the next request may be sent."""
        return max(0.0, self._due - self._slack - now, self._held_until - now)

    def held_for(self, now: float) -> float:
        """Return the seconds for which the server wants no request."""
        return max(0.0, self._held_until - now)

    def sent(self, now: float) -> None:
        """Note that a request is being sent."""
        self._due = max(self._due, now) + self._interval

    def hold(self, now: float, seconds: float) -> None:
        """Send no request for so many seconds; a longer pause that was wanted before stays."""
        self._held_until = max(self._held_until, now + seconds)
