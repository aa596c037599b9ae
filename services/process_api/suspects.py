"""One event must not stop its partition: what becomes too large, or takes too long, is found out and put aside.

The bus says only that a transaction was too large, and may draw its line below `RECORD_LIMIT`. So what that transaction
was made of is read again, one record a transaction, until the one that is refused stands alone.

While one event runs, nothing else does: the bus takes us for dead if it lasts, and another drive meets the same event.
So what took long is remembered beyond the drive, and put aside when it took long twice: the first time, the whole
process may have been paused. Sans-I/O.
"""

from typing import NamedTuple

from shared.bus.protocol import Record

KEPT = 65_536
"""Bytes that remain of a value whose dead letter would be too large as well: enough to recognise it by."""

TOO_LONG = 5.0
"""Seconds for one event: half of what the bus waits for a sign of life, and a thousand times what is usual."""

_REMEMBERED = 1000
"""Slow records of one partition, the newest."""


class Tarried(NamedTuple):
    """How a record took too long."""

    written: int
    """The record's timestamp, which tells it from one of a later topic of this name."""
    times: int
    error: str


Slow = dict[int, Tarried]
"""By offset."""


class Attempts:
    """How often this process has run the records of one partition that are not committed. Outlives drives."""

    def __init__(self) -> None:
        self._ended: dict[int, int] = {}
        """By the last offset that was run: how many runs of the log ended there, without being committed."""
        self._last = -1

    def begin(self, first: int) -> None:
        """The partition is run from this offset on: what was run there before is run again."""
        if self._last >= first:
            self._ended[self._last] = self._ended.get(self._last, 0) + 1
        self._ended = {last: times for last, times in self._ended.items() if last >= first}
        self._last = -1

    def ran(self, last: int) -> None:
        """All records from the beginning up to this offset have been run."""
        self._last = last

    def before(self, offset: int) -> int:
        """Return how often a record was run before `begin` was called last."""
        return sum(times for last, times in self._ended.items() if last >= offset)


class Suspects:
    """What is known of the records of one partition that become too large, or take too long."""

    def __init__(self, slow: Slow | None = None, attempts: Attempts | None = None) -> None:
        """What `slow` and `attempts` hold was found by earlier drives; what is found here is for later ones."""
        self.attempts = attempts or Attempts()
        self._slow = {} if slow is None else slow
        self._errors: dict[int, str] = {}
        self._cut: set[int] = set()
        self.until = max(self._slow, default=-1)
        """The last offset of which anything is known."""

    def blame(self, first: int, last: int, error: str) -> bool:
        """Note that the bus refused what was made of the records from `first` to `last`.

        Returns whether trying again will be different; if not, nothing that we could do would help.
        """
        learned = last > self.until
        self.until = max(self.until, last)
        if first == last:
            learned = first not in self._cut
            if first in self._errors:
                self._cut.add(first)
            self._errors.setdefault(first, error)
        return learned

    def tarried(self, record: Record, seconds: float) -> None:
        """Note that a record took so long to run."""
        if seconds < TOO_LONG:
            return
        known = self._slow.pop(record.offset, None)
        times = known.times + 1 if known is not None and known.written == record.timestamp else 1
        error = f"it took {seconds:.0f} s to run, time and again, and stopped all others; it is not run any more"
        self._slow[record.offset] = Tarried(record.timestamp, times, error)
        if len(self._slow) > _REMEMBERED:
            del self._slow[next(iter(self._slow))]

    def alone(self, offset: int) -> bool:
        """Whether the record at `offset` is to have a transaction of its own."""
        return offset <= self.until

    def refusal(self, record: Record) -> str | None:
        """Return why a record goes to the dead letter without being run, None if it need not."""
        slow = self._slow.get(record.offset)
        if slow is not None and slow.times > 1 and slow.written == record.timestamp:
            return slow.error
        return self._errors.get(record.offset)

    def cut(self, offset: int) -> bool:
        """Whether not even its value fits in there whole."""
        return offset in self._cut
