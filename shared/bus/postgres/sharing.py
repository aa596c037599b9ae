"""Who of a group drives which partition. Every member decides for itself, from what all of them see."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Claim:
    """Which member drives a partition, or drove it last."""

    member: str
    live: bool
    """Whether that member lives, and has not been restarted since."""


@dataclass(frozen=True, slots=True)
class Share:
    """What one member is to do next."""

    give: frozenset[int]
    """Partitions to let go, so that others have as many."""
    take: tuple[int, ...]
    """Free partitions to claim, the likeliest to be ours first."""


def share(me: str, living: Collection[str], claims: Mapping[int, Claim], partitions: int) -> Share:
    """Decide what `me` gives and takes.

    Everybody gets an equal number; where that leaves a rest, the first by name get one more. Nobody gives what it may
    keep. A member that comes back takes what was its own: the others are full, unless they have taken it meanwhile.
    """
    members = sorted({*living, me})
    each, rest = divmod(partitions, len(members))
    quota = each + (members.index(me) < rest)
    mine = sorted(number for number, claim in claims.items() if claim.live and claim.member == me)
    if len(mine) > quota:
        return Share(frozenset(mine[quota:]), ())
    free = [number for number in range(partitions) if number not in claims or not claims[number].live]
    free.sort(key=lambda number: _preference(me, members, claims.get(number)))
    return Share(frozenset(), tuple(free[: quota - len(mine)]))


def _preference(me: str, members: Collection[str], claim: Claim | None) -> int:
    """Return the place of a free partition: what was ours, then what was nobody's, then what a living one had."""
    if claim is not None and claim.member == me:
        return 0
    return 2 if claim is not None and claim.member in members else 1
