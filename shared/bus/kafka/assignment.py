"""Who drives which partition: decided by the leader of a group, from what its members say they drive.

Partitions stay where they are as far as sharing evenly allows. One that has to move is given to nobody while its
driver still claims it: he sees that it is no longer his, ends its drive, says so by joining anew, and only then it is
given on. So all other partitions are driven on meanwhile (the idea of KIP-429, with a bookkeeping of our own).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from shared.errors import Malformed


@dataclass(frozen=True, slots=True)
class Claim:
    """What one member says of itself when it joins."""

    name: str
    generation: int
    """Of the group, when it was last given partitions; -1 before."""
    partitions: frozenset[int]

    def pack(self) -> bytes:
        """Write it for the leader."""
        return json.dumps([self.name, self.generation, sorted(self.partitions)]).encode()


def unpack(data: bytes) -> Claim:
    """Read a claim.

    Raises:
        Malformed: a stranger has joined the group.
    """
    try:
        found: Any = json.loads(data)
        name, generation, partitions = found
        return Claim(str(name), int(generation), frozenset(int(number) for number in partitions))
    except (TypeError, ValueError) as exc:
        raise Malformed(f"a member of the group says {data[:80]!r} of itself: it is not one of ours") from exc


def assign(claims: Mapping[str, Claim], partitions: int) -> dict[str, set[int]]:
    """Return what each member is to drive from now on, by the ids that `claims` has."""
    holders = _holders(claims, partitions)
    shares = _shares(claims, holders, partitions)
    kept: dict[str, set[int]] = {member: set() for member in claims}
    free = []
    for number in range(partitions):
        holder = holders.get(number)
        if holder is not None and len(kept[holder]) < shares[holder]:
            kept[holder].add(number)
        elif holder is None:
            free.append(number)
    # What a holder has above its share is nobody's in this round.
    for member in _ordered(claims):
        while free and len(kept[member]) < shares[member]:
            kept[member].add(free.pop(0))
    return kept


def _holders(claims: Mapping[str, Claim], partitions: int) -> dict[int, str]:
    """Return who drives what; of two who claim a partition, he who was given partitions last."""
    holders: dict[int, str] = {}
    for member in sorted(_ordered(claims), key=lambda member: claims[member].generation):
        for number in claims[member].partitions:
            if number < partitions:
                holders[number] = member
    return holders


def _shares(claims: Mapping[str, Claim], holders: Mapping[int, str], partitions: int) -> dict[str, int]:
    """Return how many each member is to have; who drives most gets what cannot be divided."""
    least, extra = divmod(partitions, len(claims))
    driven = {member: sum(holder == member for holder in holders.values()) for member in claims}
    order = sorted(_ordered(claims), key=lambda member: -driven[member])
    return {member: least + (place < extra) for place, member in enumerate(order)}


def _ordered(claims: Mapping[str, Claim]) -> list[str]:
    return sorted(claims, key=lambda member: claims[member].name)
