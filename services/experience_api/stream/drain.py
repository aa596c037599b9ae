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

    spread: float = Field(default=4.0, ge=0)
    """Seconds over which closed subscribers reconnect."""


def waves(items: Sequence[Item], within: float, options: DrainOptions, rng: random.Random) -> Iterator[list[Item]]:
    """Yield all items in random order, in waves that take half of `within` seconds."""
    order = list(items)
    rng.shuffle(order)
    most = max(1, int(within / 2 / options.pause))
    size = max(options.wave, math.ceil(len(order) / most))
    for start in range(0, len(order), size):
        yield order[start : start + size]
