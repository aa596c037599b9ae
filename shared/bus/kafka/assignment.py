"""Assigns partitions to members. The leader of a group decides, by what each member says that it owns.

Partitions stay with their owners as far as equal shares allow. A partition that has to move is not assigned while its
owner still claims it: the owner sees that it is revoked, stops its worker, joins again without it, and only then is it
assigned to another member. The workers of all other partitions run on meanwhile. The idea is that of KIP-429; the
bookkeeping is not.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from shared.errors import Malformed


@dataclass(frozen=True, slots=True)
class Subscription:
    """What a member says about itself when it joins."""

    name: str
    generation: int
    """The generation of the group in which it got partitions last; -1 if it never did."""
    owned: frozenset[int]
    """The partitions that have a worker."""

    def encode(self) -> bytes:
        """Return the user data for the leader."""
        return json.dumps([self.name, self.generation, sorted(self.owned)]).encode()

    @classmethod
    def decode(cls, data: bytes) -> "Subscription":
        """Return the subscription in the user data of a member.

        Raises:
            Malformed: the member is not Trelay's.
        """
        try:
            found: Any = json.loads(data)
            name, generation, owned = found
            return cls(str(name), int(generation), frozenset(int(number) for number in owned))
        except (TypeError, ValueError) as exc:
            raise Malformed(
                f"a member of the group has the user data {data[:80]!r}, which is not one of Trelay's: "
                f"give other programs another group"
            ) from exc


def assign(members: Mapping[str, Subscription], partitions: int) -> dict[str, set[int]]:
    """Return the partitions of each member, by the member ids of `members`."""
    owners = _owners(members, partitions)
    quotas = _quotas(members, owners, partitions)
    assigned: dict[str, set[int]] = {member: set() for member in members}
    free = []
    for number in range(partitions):
        owner = owners.get(number)
        if owner is not None and len(assigned[owner]) < quotas[owner]:
            assigned[owner].add(number)
        elif owner is None:
            free.append(number)
    # What an owner has above its quota is not assigned in this round.
    for member in _by_name(members):
        while free and len(assigned[member]) < quotas[member]:
            assigned[member].add(free.pop(0))
    return assigned


def _owners(members: Mapping[str, Subscription], partitions: int) -> dict[int, str]:
    """Return the owner of each partition; if two members claim one, the one with the later generation."""
    owners: dict[int, str] = {}
    for member in sorted(_by_name(members), key=lambda member: members[member].generation):
        for number in members[member].owned:
            if number < partitions:
                owners[number] = member
    return owners


def _quotas(members: Mapping[str, Subscription], owners: Mapping[int, str], partitions: int) -> dict[str, int]:
    """Return how many partitions each member gets; the remainder goes to those that own the most."""
    least, remainder = divmod(partitions, len(members))
    owned = {member: sum(owner == member for owner in owners.values()) for member in members}
    order = sorted(_by_name(members), key=lambda member: -owned[member])
    return {member: least + (index < remainder) for index, member in enumerate(order)}


def _by_name(members: Mapping[str, Subscription]) -> list[str]:
    return sorted(members, key=lambda member: members[member].name)
