"""What each hop saw, and which hop lost, repeated or reordered an event.

upstream → ingest → publish → subscriber        (a source without a channel goes through the process layer)
upstream ─────────→ publish → subscriber        (one with a channel does not)
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple


class Sighting(NamedTuple):
    """One event as one hop saw it: the `number`-th of its subject."""

    subject: str
    number: int


@dataclass
class Audit:
    """The sightings of one source's events, hop by hop, in the order of the way."""

    source: str
    hops: dict[str, list[Sighting]] = field(default_factory=dict)

    def saw(self, hop: str, sightings: Iterable[Sighting]) -> None:
        """Note what a hop saw, in the order in which it did; the first one to be noted is the upstream's truth."""
        self.hops[hop] = list(sightings)

    def counts(self) -> dict[str, int]:
        """Return how many each hop saw."""
        return {hop: len(sightings) for hop, sightings in self.hops.items()}

    def faults(self) -> list[str]:
        """Return one sentence for each fault, naming the hop where it first shows; none for a clean run."""
        found: list[str] = []
        for before, after in pairwise(self.hops):
            found += self._compared(before, after)
        for hop, sightings in self.hops.items():
            disorder = list(_disorder(sightings))
            if disorder:
                found.append(f"{self.source}: {len(disorder)} out of order by subject at {hop}: {disorder[:5]}")
                break  # every later hop shows the same
        return found

    def _compared(self, before: str, after: str) -> Iterator[str]:
        had, has = Counter(self.hops[before]), Counter(self.hops[after])
        for fault, events in (
            (f"lost between {before} and {after}", [event for event in had if event not in has]),
            (f"invented between {before} and {after}", [event for event in has if event not in had]),
            (f"repeated between {before} and {after}", [event for event in had if has[event] > had[event]]),
        ):
            if events:
                yield f"{self.source}: {len(events)} {fault}: {sorted(events)[:5]}"


def _disorder(sightings: Sequence[Sighting]) -> Iterator[Sighting]:
    last: dict[str, int] = {}
    for sighting in sightings:
        if sighting.number < last.get(sighting.subject, -1):
            yield sighting
        last[sighting.subject] = sighting.number
