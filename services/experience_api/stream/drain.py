"""Plans the waves in which a replica closes its connections when it shuts down."""

import math
import random
from collections.abc import Iterator, Sequence
from typing import TypeVar

from pydantic import Field

from shared.settings import Options

Item = TypeVar("Item")


class DrainOptions(Options):
    """The pace of a shutdown."""

    wave: int = Field(default=200, ge=1)
    """Connections closed at once. Fewer would spare the replicas that take them over; if time is short, a wave closes
    more."""

    pause: float = Field(default=0.2, gt=0)
    """Seconds between two waves."""

    reconnects_per_second: float = Field(default=200.0, gt=0)
    """Reconnections that the other replicas are to take a second: so many closed subscribers reconnect in each, unless
    that takes longer than `spread`. Replicas that stop at the same time add up."""

    spread: float = Field(default=4.0, ge=0)
    """Seconds over which closed subscribers reconnect at most. They begin at once: new connections go to other replicas
    since `experience.drain_delay` began."""

    def spread_of(self, count: int) -> float:
        """Return the seconds over which so many closed subscribers reconnect."""
        return min(self.spread, count / self.reconnects_per_second)


def waves(items: Sequence[Item], within: float, options: DrainOptions, rng: random.Random) -> Iterator[list[Item]]:
    """Yield all items in random order, in waves that take half of `within` seconds."""
    order = list(items)
    rng.shuffle(order)
    most = max(1, int(within / 2 / options.pause))
    size = max(options.wave, math.ceil(len(order) / most))
    for start in range(0, len(order), size):
        yield order[start : start + size]
