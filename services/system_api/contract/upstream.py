"""What the suite needs of an upstream system: to write records to it, and to make it unreachable."""

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Protocol

from services.system_api.sources.source import SourceOpener, SourceOptions
from shared.runtime.clock import Clock

CHANNEL = "numbers"
COMMON: dict[str, Any] = {
    "type": "number.seen",
    "channel": CHANNEL,
    "interval": 0.02,
    "batch": 3,
    "poll_timeout": 20,
    "retry": {"attempts": 3, "first_wait": 0.01, "longest_wait": 0.05},
}
"""Settings of every source in the suite: small batches, so that there are many places where it can be interrupted."""


class SourceSettings(Protocol):
    """The settings of one kind of source; each class of `AnySource` is one."""

    def opener(self, name: str, clock: Clock, rng: Any) -> SourceOpener: ...


class Upstream(Protocol):
    """An upstream system with one source.

    A record is a JSON object (or a row) with the members `n`, a number, and `k`, the subject: `a`, `b` or `c`.
    """

    exactly_once: bool
    """Whether each record is published once, whatever happens; otherwise at least once."""

    def options(self) -> SourceOptions:
        """Return the settings of the source; `COMMON` and those of its kind."""
        ...

    async def write(self, numbers: Sequence[int]) -> None:
        """Write a record for each number, in order; return once they are stored."""
        ...

    async def write_poison(self) -> None:
        """Write one record that cannot become an event."""
        ...

    def outage(self) -> Any:
        """Return an asynchronous context in which the upstream is unreachable."""
        ...

    def slow(self) -> Any:
        """Return an asynchronous context in which the upstream answers slowly."""
        ...


def record(number: int) -> dict[str, Any]:
    """Return the record of a number."""
    return {"n": number, "k": "abc"[number % 3]}


def line(number: int) -> bytes:
    """Return the record of a number as JSON."""
    return json.dumps(record(number)).encode()


@asynccontextmanager
async def unchanged() -> AsyncIterator[None]:
    """A context that does nothing, for an upstream that is never slow."""
    yield
