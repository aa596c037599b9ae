"""Which member of a group gets which partition. Each member decides for itself, from what all of them see."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Claim:
    """The member that has a partition, or had it last."""

    member: str
    live: bool
    """Whether the member is alive and was not restarted since."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What one member does next."""

    release: frozenset[int]
    """Partitions above its quota."""
    claim: tuple[int, ...]
    """Free partitions up to its quota, in the order of preference."""


def decide(own: str, alive: Collection[str], claims: Mapping[int, Claim], partitions: int) -> Decision:
    """Decide what the member `own` releases and claims.

    All members get an equal number; the first by name get one more if there is a remainder. A member releases no
    partition within its quota. A member that was restarted claims the partitions that it had: the others are at their
    quota, unless they have claimed them meanwhile.
    """
    members = sorted({*alive, own})
    least, remainder = divmod(partitions, len(members))
    quota = least + (members.index(own) < remainder)
    owned = sorted(number for number, claim in claims.items() if claim.live and claim.member == own)
    if len(owned) > quota:
        return Decision(frozenset(owned[quota:]), ())
    free = [number for number in range(partitions) if number not in claims or not claims[number].live]
    free.sort(key=lambda number: _preference(own, members, claims.get(number)))
    return Decision(frozenset(), tuple(free[: quota - len(owned)]))


def _preference(own: str, members: Collection[str], claim: Claim | None) -> int:
    """Rank a free partition: first what this member had, then what no living member had, then the others."""
    if claim is not None and claim.member == own:
        return 0
    return 2 if claim is not None and claim.member in members else 1
