"""Detects hanging transactions: open transactions that their coordinator no longer knows.

Committed records are readable up to the first open transaction of a partition. The coordinator aborts a transaction
that its producer does not end, so none stays open for much longer than the transaction timeout. One that does was
forgotten by its coordinator; coordinators of Kafka 4.3.0 to 4.4.0 can do that (KAFKA-20734). A client cannot know
whether it was committed, so an operator must decide.
"""

_CLEANUP_INTERVAL = 10.0
"""Seconds; the default of `transaction.abort.timed.out.transaction.cleanup.interval.ms` of the coordinators."""


class HangingTransactions:
    """How long each partition of a topic has had an open transaction at the same offset. No I/O."""

    def __init__(self, topic: str, transaction_timeout: float) -> None:
        self._topic = topic
        self._limit = transaction_timeout + 2 * _CLEANUP_INTERVAL
        self._open: dict[int, tuple[int, float]] = {}

    def check(self, partition: int, last_stable_offset: int, high_watermark: int, now: float) -> str | None:
        """Update a partition, and return what is wrong with it, or None; `now` is in monotonic seconds."""
        if last_stable_offset >= high_watermark:
            self._open.pop(partition, None)
            return None
        offset, since = self._open.get(partition, (-1, now))
        if offset != last_stable_offset:
            self._open[partition] = (last_stable_offset, now)
            return None
        if now - since <= self._limit:
            return None
        return (
            f"{self._topic}/{partition}: a transaction at offset {offset} has been open for {now - since:.0f} s, and "
            f"no record after it can be read; find it with kafka-transactions.sh find-hanging, see docs/kafka.md"
        )

    def reset(self) -> None:
        """Start all times again: brokers did not answer, so coordinators may have been unavailable as well."""
        self._open.clear()
