"""Closes the connections to PostgreSQL that a test leaves open.

Without this, the garbage collector finds them, at random and within another test, which fails of it.
"""

from typing import Any
from weakref import WeakSet

import asyncpg

_MADE: WeakSet[Any] = WeakSet()


def watch() -> None:
    """Note each connection that this process makes from now on."""
    connections: Any = asyncpg.Connection
    make = connections.__init__

    def noted(connection: Any, *arguments: Any, **keywords: Any) -> None:
        make(connection, *arguments, **keywords)
        _MADE.add(connection)

    connections.__init__ = noted


def close_all(database: str) -> None:
    """Close the open connections of this process to a database."""
    for each in list(_MADE):
        if not each.is_closed() and each._params.database == database:
            each.terminate()
