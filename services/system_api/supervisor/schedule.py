"""When the next poll is due, and how long to wait after a failure. No I/O; clock and rng are the caller's."""

from dataclasses import dataclass

from shared.runtime.retry import RetryOptions

_JITTER = 0.1
_MIN_CEILING = 0.5


@dataclass(frozen=True, slots=True)
class Schedule:
    """The pace of one source. Each `roll` is a random number in [0, 1): jitter keeps replicas and sources apart."""

    interval: float
    retry: RetryOptions

    def next_poll(self, took: float, roll: float) -> float:
        """Return the seconds until the next poll, where the last one took `took`; at least a tenth of `took`.

        So an upstream that answers slower than the interval still gets a pause.
        """
        return max(self.interval * (1 + _JITTER * roll) - took, took * 0.1)

    def next_probe(self, roll: float) -> float:
        """Return the seconds until an upstream that is down is probed again."""
        interval = self.retry.longest_wait if self.retry.probe_interval is None else self.retry.probe_interval
        return interval * (1 - _JITTER * roll)

    def after_failures(self, failures: int, roll: float) -> float:
        """Return the seconds before a source that failed `failures` times in a row is restarted.

        Half of the ceiling is fixed and half is random: a bug that fails at once must not fail in a tight loop.
        """
        # 2**64 already exceeds any ceiling; a larger exponent overflows the float after a thousand failures.
        doublings = min(failures - 1, 64)
        ceiling = min(self.retry.longest_wait, max(self.retry.first_wait, _MIN_CEILING) * 2.0**doublings)
        return ceiling * (1 + roll) / 2
