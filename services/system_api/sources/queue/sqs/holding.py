"""Which messages a connection to SQS holds, and what the next requests may ask for. No I/O."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

_FORGET = 0.999
"""What a message leaves of the size of larger ones before it."""
AT_ONCE = 10
"""The most messages of one request, by SQS."""


class Held:
    """The receipts of messages that were received and are not deleted, oldest first."""

    def __init__(self, limit: int, max_bytes: int) -> None:
        self._limit = limit
        self._max_bytes = max_bytes
        self._sizes: dict[str, int] = {}
        self._published: dict[str, None] = {}
        self._bytes = 0
        self._largest = 1.0
        """The size of the largest message, weighing recent ones more."""

    @property
    def unpublished(self) -> list[str]:
        """The receipts of messages that must stay hidden from others."""
        return [receipt for receipt in self._sizes if receipt not in self._published]

    @property
    def published(self) -> list[str]:
        """The receipts of messages that are to be deleted."""
        return list(self._published)

    def plan(self, requests: int) -> list[int]:
        """Return how many messages each of so many requests may ask for; nothing if there is no room.

        SQS knows no limit in bytes. So it is asked for as many as fit if they are as large as those before.
        """
        space = self._max_bytes - self._bytes
        room = min(self._limit - len(self._sizes), max(1, int(space / self._largest))) if space > 0 else 0
        counts = [min(AT_ONCE, room - start) for start in range(0, max(room, 0), AT_ONCE)]
        return counts[:requests]

    def add(self, receipt: str, size: int) -> None:
        """Note that a message was received."""
        self._sizes[receipt] = size
        self._bytes += size
        self._largest = max(1.0, self._largest * _FORGET, size)

    def note_published(self, receipts: Iterable[str]) -> None:
        """Note that messages are published, so that they can be deleted."""
        self._published.update((receipt, None) for receipt in receipts if receipt in self._sizes)

    def remove(self, receipts: Iterable[str]) -> None:
        """Note that messages are deleted, or cannot be with these receipts."""
        for receipt in receipts:
            self._published.pop(receipt, None)
            self._bytes -= self._sizes.pop(receipt, 0)


def entries(receipts: Sequence[str]) -> Iterator[list[dict[str, Any]]]:
    """Yield receipts in the form of a batch, as many at once as SQS takes."""
    for start in range(0, len(receipts), AT_ONCE):
        chunk = receipts[start : start + AT_ONCE]
        yield [{"Id": str(number), "ReceiptHandle": receipt} for number, receipt in enumerate(chunk)]


def settled(batch: Sequence[dict[str, Any]], answer: dict[str, Any]) -> list[str]:
    """Return the receipts of a batch that need not be sent again.

    SQS refuses a receipt whose message was delivered again, which is a fault of the sender in its words. What failed
    because of SQS is sent again.
    """
    again = {failed["Id"] for failed in answer.get("Failed", ()) if not failed.get("SenderFault")}
    return [entry["ReceiptHandle"] for entry in batch if entry["Id"] not in again]
