"""One event that the bus finds too large must not stop its partition: it is found out, and put aside. Sans-I/O.

The bus says only that a transaction was too large, and may draw its line below `RECORD_LIMIT`. So what that transaction
was made of is read again, one record a transaction, until the one that is refused stands alone.
"""

KEPT = 65_536
"""Bytes that remain of a value whose dead letter would be too large as well: enough to recognise it by."""


class Oversize:
    """What is known of the records of one partition that become too large."""

    def __init__(self) -> None:
        self.until = -1
        """The last offset of which anything is known."""
        self._errors: dict[int, str] = {}
        self._cut: set[int] = set()

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

    def alone(self, offset: int) -> bool:
        """Whether the record at `offset` is to have a transaction of its own."""
        return offset <= self.until

    def refusal(self, offset: int) -> str | None:
        """Return why the record at `offset` goes to the dead letter without being run, None if it need not."""
        return self._errors.get(offset)

    def cut(self, offset: int) -> bool:
        """Whether not even its value fits in there whole."""
        return offset in self._cut
