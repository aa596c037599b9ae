"""The settings that differ between two readings of a file."""

from collections.abc import Iterator, Mapping
from typing import Any


def changed_keys(before: Mapping[str, Any], after: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Return the keys whose values differ, each with those above it: `system.sources.orders.interval`.

    Of a mapping that is on one side alone, only its own key is returned.
    """
    for key in [*before, *(key for key in after if key not in before)]:
        old, new = before.get(key), after.get(key)
        if old == new and (key in before) == (key in after):
            continue
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            yield from changed_keys(old, new, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"
