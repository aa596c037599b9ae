"""A database upstream, for tests that run on each kind."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Upstream:
    """A database with no tables."""

    url: str
    execute: Callable[[str], Awaitable[Any]]
    column: Callable[[str], Awaitable[list[Any]]]
    """Returns the first column of the rows of a statement."""
    key: str
    """The declaration of a key that the database gives."""
