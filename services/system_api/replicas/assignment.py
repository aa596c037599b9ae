"""Which replica runs which source. Each replica decides for itself, from what all of them see. No I/O."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from typing import NamedTuple


class Share(NamedTuple):
    """What one replica does next."""

    keep: frozenset[str]
    """Sources that it runs, or takes because they are free."""
    release: frozenset[str]
    """Sources that it runs and that are above its quota."""


def share_of(own: str, alive: Collection[str], owners: Mapping[str, str], sources: Collection[str]) -> Share:
    """Return the share of the replica `own`; `owners` has the owner of each source that has one.

    All replicas get an equal number, and those that own most get one more if there is a remainder: so as few sources
    as possible move, and none moves once the numbers are even. An owner counts as a replica even if it is not in
    `alive`: it may be of an older release.
    """
    owned = Counter(owners[source] for source in sources if source in owners)
    replicas = sorted({*alive, own, *owned}, key=lambda replica: (-owned[replica], replica))
    least, remainder = divmod(len(sources), len(replicas))
    quotas = {replica: least + (rank < remainder) for rank, replica in enumerate(replicas)}
    mine = sorted(source for source in sources if owners.get(source) == own)
    free = sorted(source for source in sources if source not in owners)
    takers = _takers(sorted(replicas), quotas, owned)
    taken = [source for source, taker in zip(free, takers, strict=False) if taker == own]
    return Share(frozenset([*mine[: quotas[own]], *taken]), frozenset(mine[quotas[own] :]))


def _takers(replicas: Collection[str], quotas: Mapping[str, int], owned: Mapping[str, int]) -> Iterator[str]:
    """Yield which replica takes the next free source: each in turn, until it has its quota."""
    missing = {replica: quotas[replica] - owned.get(replica, 0) for replica in replicas}
    while any(count > 0 for count in missing.values()):
        for replica in replicas:
            if missing[replica] > 0:
                missing[replica] -= 1
                yield replica
