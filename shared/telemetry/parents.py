"""The span that an event belongs to, read from its bytes: the attribute `traceparent`.

Source: https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/extensions/distributed-tracing.md
"""

import re
from collections import Counter
from collections.abc import Iterable
from typing import Protocol

_ATTRIBUTE = b'"traceparent":"'
_SEARCHED = 16_384
"""The attribute stands in the first bytes of an event: before the data, where Trelay built the event."""

_SAMPLED = re.compile(rb"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f][13579bdf]")
_LENGTH = 55


class Valued(Protocol):
    """A record, as it is written or read."""

    @property
    def value(self) -> bytes | None:
        """The event."""


def sampled_parents(records: Iterable[Valued], limit: int) -> Counter[bytes]:
    """Return the `traceparent` of events whose trace is sampled, each with its number of events; at most `limit`."""
    found: Counter[bytes] = Counter()
    for record in records:
        value = record.value
        at = -1 if value is None else value.find(_ATTRIBUTE, 0, _SEARCHED)
        if value is None or at < 0:
            continue
        start = at + len(_ATTRIBUTE)
        text = value[start : start + _LENGTH]
        if text in found:
            found[text] += 1
        elif len(found) < limit and _SAMPLED.fullmatch(text):
            found[text] = 1
    return found
