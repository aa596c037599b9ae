"""What the pipelines have done on this replica since it started: counts, rates, and the last error of each."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import msgspec

from shared.events.dead_letter import Reject
from shared.runtime.clock import Clock
from shared.runtime.rates import Rates

_ERROR_LIMIT = 500


class Counted(Protocol):
    """What was counted of one pipeline in a transaction."""

    @property
    def taken(self) -> int: ...
    @property
    def published(self) -> int: ...
    @property
    def rejected(self) -> int: ...


class LastError(msgspec.Struct, frozen=True):
    """The newest dead letter of a pipeline."""

    text: str
    origin: str
    """Topic, partition and offset of the input."""
    at: float


class Activity(msgspec.Struct, frozen=True):
    """What a pipeline has done."""

    version: str
    taken: int = 0
    published: int = 0
    rejected: int = 0
    published_per_second: float = 0.0
    rejected_per_second: float = 0.0
    last_error: LastError | None = None


@dataclass(slots=True)
class _Counts:
    rates: Rates
    taken: int = 0
    published: int = 0
    rejected: int = 0
    last_error: LastError | None = None


class Activities:
    """What all pipelines have done."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._began = clock.monotonic()
        self._counts: dict[str, _Counts] = {}

    def committed(self, tallies: Mapping[str, Counted], rejects: list[Reject]) -> None:
        """Count a transaction that was committed."""
        now = self._clock.monotonic()
        for name, tally in tallies.items():
            if tally.taken or tally.published or tally.rejected:
                counts = self._of(name)
                counts.taken += tally.taken
                counts.published += tally.published
                counts.rejected += tally.rejected
                counts.rates.add(tally.published, tally.rejected, now)
        for reject in rejects:
            name = reject.pipeline.partition("@")[0]
            self._of(name).last_error = LastError(reject.error[:_ERROR_LIMIT], reject.origin, self._clock.time())

    def measure(self, versions: Mapping[str, str]) -> dict[str, Activity]:
        """Return what these pipelines have done, each given with its version."""
        now = self._clock.monotonic()
        found = {}
        for name, version in versions.items():
            counts = self._of(name)
            published, rejected = counts.rates.per_second(now)
            found[name] = Activity(
                version, counts.taken, counts.published, counts.rejected, published, rejected, counts.last_error
            )
        return found

    def _of(self, name: str) -> _Counts:
        counts = self._counts.get(name)
        if counts is None:
            counts = self._counts[name] = _Counts(Rates(self._began))
        return counts
