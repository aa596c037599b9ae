"""When the next poll is due, and how long to stay away after a failure. No I/O, no clock, no rng of its own."""

from dataclasses import dataclass

from shared.runtime.retry import RetryOptions

_JITTER = 0.1
_FAULT_FLOOR = 0.5


@dataclass(frozen=True, slots=True)
class Schedule:
    """The pace of one source. Every `roll` is a number in [0, 1), and spreads replicas and sources apart."""

    interval: float
    retry: RetryOptions

    def next_poll(self, took: float, roll: float) -> float:
        """Return the seconds until the next poll, where the last one took `took`; never less than a tenth of it.

        An upstream that answers slower than the interval is not asked without a pause.
        """
        return max(self.interval * (1 + _JITTER * roll) - took, took * 0.1)

    def next_probe(self, roll: float) -> float:
        """Return the seconds until an upstream that is down is tried once more."""
        return self.retry.longest_wait * (1 - _JITTER * roll)

    def after_failures(self, failures: int, roll: float) -> float:
        """Return the seconds before a source is built anew that failed so many times in a row.

        Half of the ceiling is certain and half is chance: a bug that fails at once must not fail in a tight loop.
        """
        # 2**64 already exceeds any ceiling; beyond, the float would overflow after a thousand failures.
        doublings = min(failures - 1, 64)
        ceiling = min(self.retry.longest_wait, max(self.retry.first_wait, _FAULT_FLOOR) * 2.0**doublings)
        return ceiling * (1 + roll) / 2
