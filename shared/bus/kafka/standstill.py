"""Partitions that nobody can read on, since a transaction in them is never ended.

Committed records end where the first open transaction begins. Its coordinator ends one that its writer left, so it
lies open for as long as its writer may take, and little longer. One that stays was forgotten: coordinators of Kafka
4.3.0 to 4.4.0 do that (KAFKA-20734). Whether it was committed cannot be known from here, so people are told.
"""

_LOOKED_FOR_EVERY = 10.0
"""Seconds; the coordinators' `transaction.abort.timed.out.transaction.cleanup.interval.ms`, by default."""


class Standstill:
    """How long each partition of a topic has had an open transaction at the same place. Knows no time by itself."""

    def __init__(self, topic: str, longest_transaction: float) -> None:
        """Transactions of the topic are ended by their coordinator after `longest_transaction` seconds."""
        self._topic = topic
        self._patience = longest_transaction + 2 * _LOOKED_FOR_EVERY
        self._open: dict[int, tuple[int, float]] = {}

    def note(self, partition: int, readable: int, end: int, now: float) -> str | None:
        """Take how far a partition can be read and where it ends; return what is wrong with it, if anything is."""
        if readable >= end:
            self._open.pop(partition, None)
            return None
        place, since = self._open.get(partition, (-1, now))
        if place != readable:
            self._open[partition] = (readable, now)
            return None
        if now - since <= self._patience:
            return None
        return (
            f"{self._topic}/{partition}: a transaction has lain open at offset {readable} for {now - since:.0f} s, and "
            f"nothing behind it can be read: its coordinator should have ended it"
        )

    def forget(self) -> None:
        """Begin anew: for a time nobody answered, and coordinators may have been away as well."""
        self._open.clear()
