"""Leaving in order: subscribers are sent away in waves, each with a time of its own to come back."""

import math
import random
from collections.abc import Iterator, Sequence
from typing import TypeVar

from pydantic import Field

from shared.settings import Options

Item = TypeVar("Item")


class DrainOptions(Options):
    """The pace of leaving."""

    wave: int = Field(default=200, ge=1)
    """Connections that are closed at once. Fewer would be gentler to the replicas that take them; where time is short,
    more are."""

    pause: float = Field(default=0.2, gt=0)
    """Seconds between two waves."""

    spread: float = Field(default=4.0, ge=0)
    """Seconds over which those that are sent away come back."""


def waves(items: Sequence[Item], within: float, options: DrainOptions, rng: random.Random) -> Iterator[list[Item]]:
    """Deal out everybody, at random, in waves that are done in half the time there is."""
    order = list(items)
    rng.shuffle(order)
    most = max(1, int(within / 2 / options.pause))
    size = max(options.wave, math.ceil(len(order) / most))
    for start in range(0, len(order), size):
        yield order[start : start + size]
