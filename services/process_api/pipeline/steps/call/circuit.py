"""A circuit breaker: after failures in a row, no request is sent for a while. Sans-I/O.

M. Nygard, "Release It!", 2018, chapter 5: closed, open, and half-open with one request as a trial.
"""

from pydantic import Field

from shared.settings import Options


class CircuitOptions(Options):
    """When requests stop for a while."""

    failures: int = Field(default=5, ge=1)
    """Failed requests in a row after which the circuit opens: no request is sent."""

    open_seconds: float = Field(default=30.0, gt=0)
    """Seconds until one request is sent as a trial; if it succeeds, the circuit closes."""


class Circuit:
    """The circuit of one step. All times are in monotonic seconds."""

    def __init__(self, options: CircuitOptions) -> None:
        self._options = options
        self._failures = 0
        self._open_until = 0.0

    def wait(self, now: float) -> float:
        """Return the seconds until a request may be sent, 0 for at once.

        While the circuit is half-open, the caller that gets 0 sends the trial, and others wait for its result.
        """
        if self._failures < self._options.failures:
            return 0.0
        left = self._open_until - now
        if left > 0:
            return left
        self._open_until = now + self._options.open_seconds
        return 0.0

    def succeeded(self) -> None:
        """Note that a request was answered."""
        self._failures = 0

    def failed(self, now: float) -> None:
        """Note that a request was not answered."""
        self._failures += 1
        if self._failures >= self._options.failures:
            self._open_until = now + self._options.open_seconds
