"""Fits what is stored to the publish topic as it is, and to the settings. Sans-I/O."""

from collections.abc import Mapping
from typing import NamedTuple

from services.experience_api.latest.view import View


class Stored(NamedTuple):
    """What is stored, without the events."""

    view: View
    settings: str
    """The digest of the settings."""
    copied_ms: tuple[int, ...]
    """The times of the newest events, by partition."""
    missed: tuple[int, ...]
    """Offsets that were removed before they were copied, by partition."""


class Fitted(NamedTuple):
    """What has to be stored from now on."""

    stored: Stored
    reason: str
    """Why it differs from what was stored; empty if it does not, or nothing was."""
    other_settings: bool = False
    """Whether events may be stored that are not kept any more."""
    truncated: bool = False
    """Whether the topic ends before what was copied of it."""


def fit(stored: Stored | None, epoch: str, bounds: Mapping[int, tuple[int, int]], settings: str) -> Fitted:
    """Return what has to be stored for a topic: its epoch, and the earliest offset and the end of each partition.

    - The topic was recreated, has other partitions, or was truncated: its events come after all that are stored, which
      remain the latest ones of their subjects until then (a new generation).
    - Other settings decide what is kept: everything that the topic has is copied again (a new version).
    - Retention has removed what was not copied yet: copying continues behind it, and what is missed is counted.
    """
    earliest = tuple(bounds[partition][0] for partition in range(len(bounds)))
    ends = tuple(bounds[partition][1] for partition in range(len(bounds)))
    if stored is None:
        none = (0,) * len(bounds)
        return Fitted(Stored(View(epoch, 1, 1, earliest, 0, 0), settings, none, none), "")
    view = stored.view
    if view.epoch != epoch or len(view.positions) > len(bounds):
        none = (0,) * len(bounds)
        fresh = View(epoch, view.generation + 1, view.version + 1, earliest, view.copied_ms, view.missed)
        return Fitted(
            Stored(fresh, settings, none, none), "the topic was recreated", other_settings=stored.settings != settings
        )
    return _same_topic(stored, earliest, ends, settings)


def _same_topic(stored: Stored, earliest: tuple[int, ...], ends: tuple[int, ...], settings: str) -> Fitted:
    view, more = stored.view, len(earliest) - len(stored.view.positions)
    copied_ms, missed = (*stored.copied_ms, *(0,) * more), (*stored.missed, *(0,) * more)
    before = (*view.positions, *earliest[len(view.positions) :])
    truncated = any(map(int.__gt__, before, ends))
    other_settings = stored.settings != settings
    missed = tuple(
        count + max(0, first - position) for count, first, position in zip(missed, earliest, before, strict=True)
    )
    positions = tuple(
        min(max(position, first), end) for position, first, end in zip(before, earliest, ends, strict=True)
    )
    reasons = {
        "the topic has more partitions": more > 0,
        "the topic was truncated": truncated,
        "other settings": other_settings,
        "records were removed before they were copied": missed != (*stored.missed, *(0,) * more),
    }
    reason = "; ".join(text for text, holds in reasons.items() if holds)
    generation = view.generation + (more > 0 or truncated)
    version = view.version + (more > 0 or truncated or other_settings)
    if other_settings:
        positions = earliest
    found = View(view.epoch, generation, version, positions, view.copied_ms, sum(missed))
    after = Stored(found, settings, copied_ms, missed)
    return Fitted(after, reason, other_settings=other_settings, truncated=truncated)
