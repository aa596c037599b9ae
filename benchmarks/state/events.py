"""The events that all rows get."""

import random
import time
from collections.abc import Iterator
from pathlib import Path

from shared.events.event import Envelope, wrap

START = 1_767_225_600
"""2026-01-01 in seconds since 1970."""

DURATION = 1800
"""Seconds from the first event to the last."""


def write(path: Path, count: int, keys: int) -> None:
    """Write events to a file, the key, a tab and the value in each line: each key has an order before any payment."""
    with path.open("wb") as file:
        file.writelines(b"%b\t%b\n" % event for event in _events(count, keys))


def read(path: Path) -> list[tuple[bytes, bytes]]:
    """Read the keys and the values of such a file."""
    with path.open("rb") as file:
        return [(key, value) for key, _, value in (line.rstrip(b"\n").partition(b"\t") for line in file)]


def _events(count: int, keys: int) -> Iterator[tuple[bytes, bytes]]:
    rng, heads = random.Random(1), [Envelope(f"/sources/{name}", "seen").head() for name in ("orders", "payments")]
    trace = b"00-%032x-%016x-01" % (1, 1)
    for number in range(count):
        key = b"C-%d" % (number if number < keys else rng.randrange(keys))
        data = b'{"id":%d,"amount":%d.25,"note":"%b"}' % (number, number % 500, b"x" * 20)
        when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(START + number * DURATION // count)).encode()
        yield key, wrap(heads[number >= keys], b'"o:%d"' % number, b'"%b"' % key, when, trace, data)
