"""Finds the poison records of one partition, which would stop it: those that become too large, and those that are slow.

Too large: the bus refuses a whole transaction, and its limit may be lower than `RECORD_LIMIT`. The records of that
transaction are read again, each in a transaction of its own, until the record that is refused stands alone.

Slow: one event runs at a time, and the bus evicts a member that sends no heartbeat meanwhile. The next run of the
partition meets the same event. So slow records are remembered from one run to the next, and rejected after the second
time: the first time, the whole process may have been paused.

Sans-I/O.
"""

from typing import NamedTuple

from services.process_api.operations.gate import NotLoaded, Paused
from shared.bus.protocol import Record
from shared.errors import Unavailable

SLOW_SECONDS = 5.0
"""For one event: half of the time after which the bus evicts a member, and a thousand times the usual."""

_MAX_SLOW_RECORDS = 1000
"""Slow records of one partition that are remembered, the newest."""


class SlowRecord(NamedTuple):
    """How often a record was slow."""

    timestamp: int
    """Of the record: it distinguishes the record from one of a later topic of the same name."""
    times: int
    error: str


SlowRecords = dict[int, SlowRecord]
"""By offset."""


class Attempts:
    """Counts how often this process ran the records of one partition that are not committed. Outlives the runs."""

    def __init__(self) -> None:
        self._ended: dict[int, int] = {}
        """By the last offset that was run: how many runs ended there without a commit."""
        self._last = -1

    def begin(self, first: int) -> None:
        """Note that a run begins at this offset: the records behind it that were run before are run again."""
        if self._last >= first:
            self._ended[self._last] = self._ended.get(self._last, 0) + 1
        self._ended = {last: times for last, times in self._ended.items() if last >= first}
        self._last = -1

    def ran(self, last: int) -> None:
        """Note that all records up to this offset were run."""
        self._last = last

    def before(self, offset: int) -> int:
        """Return how often a record was run before the current run."""
        return sum(times for last, times in self._ended.items() if last >= offset)


class PoisonTracker:
    """What is known of the poison records of one partition."""

    def __init__(self, slow: SlowRecords | None = None, attempts: Attempts | None = None) -> None:
        """`slow` and `attempts` are shared by all runs of the partition in this process."""
        self.attempts = attempts or Attempts()
        self._slow = {} if slow is None else slow
        self._errors: dict[int, str] = {}
        self._truncated: set[int] = set()
        self.last_known = max(self._slow, default=-1)
        """The highest offset of which anything is known."""

    def isolate(self, first: int, last: int, error: str) -> bool:
        """Note that the bus refused the transaction made from the records at `first` to `last`.

        Returns whether another attempt will differ; if not, nothing more can be done.
        """
        learned = last > self.last_known
        self.last_known = max(self.last_known, last)
        if first == last:
            learned = first not in self._truncated
            if first in self._errors:
                self._truncated.add(first)
            self._errors.setdefault(first, error)
        return learned

    def note_slow(self, record: Record, seconds: float) -> None:
        """Note how long a record took; nothing is noted below `SLOW_SECONDS`."""
        if seconds < SLOW_SECONDS:
            return
        known = self._slow.pop(record.offset, None)
        times = known.times + 1 if known is not None and known.timestamp == record.timestamp else 1
        error = f"took {seconds:.0f} s, the limit is {SLOW_SECONDS:g} s; rejected after {times} attempts"
        self._slow[record.offset] = SlowRecord(record.timestamp, times, error)
        if len(self._slow) > _MAX_SLOW_RECORDS:
            del self._slow[next(iter(self._slow))]

    def note_attempt(self, error: Unavailable, record: Record) -> None:
        """Note that a record was run up to a step that waits. One that waits for its pipeline was not run."""
        if not isinstance(error, Paused | NotLoaded):
            self.attempts.ran(record.offset)

    def is_isolated(self, offset: int) -> bool:
        """Whether the record at `offset` gets a transaction of its own."""
        return offset <= self.last_known

    def rejection(self, record: Record) -> str | None:
        """Return why a record goes to the dead letter without being run, None where it is run."""
        slow = self._slow.get(record.offset)
        if slow is not None and slow.times > 1 and slow.timestamp == record.timestamp:
            return slow.error
        return self._errors.get(record.offset)

    def is_truncated(self, offset: int) -> bool:
        """Whether the dead letter of the record at `offset` holds only `KEPT_BYTES` of its value."""
        return offset in self._truncated
