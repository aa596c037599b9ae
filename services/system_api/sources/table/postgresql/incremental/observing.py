"""Observes the horizon of a table: one statement for the bound, one for the open transactions."""

from collections.abc import Sequence

import asyncpg

from services.system_api.sources.table.delayed import Delayed
from services.system_api.sources.table.local_clock import LocalClock
from services.system_api.sources.table.options import TableSourceOptions
from services.system_api.sources.table.postgresql import bounds
from services.system_api.sources.table.postgresql.session import Session
from services.system_api.sources.table.time_scale import Microseconds, TimeScale
from shared.errors import Unavailable
from shared.runtime.clock import Clock

_MARGIN = 1.0
"""Seconds. A transaction takes its time, `now()`, shortly before it is listed as open; on a busy machine it may be
suspended in between."""
_SHOWN = 3
"""Transactions that an error names."""


class TableChanged(Exception):
    """Another table has the name now, or the table has another definition: the session must be opened again."""


class Observer:
    """What is known of one table's horizon beyond a session."""

    def __init__(self, options: TableSourceOptions, place: str, clock: Clock) -> None:
        self._by_time = options.updated_at_column is not None
        self._overlap = options.overlap
        self._place = place
        self._clock = clock
        self._delayed = Delayed[int](options.overlap)
        self._running: Sequence[asyncpg.Record] = ()
        self._began: tuple[int, int | None] | None = None
        """The beginning of the oldest open transaction, and the bound at that time."""
        self.local_clock = LocalClock()
        self.next: int | None = None
        """The next key of the sequence, or the time of the server's clock as the table's times show it."""
        self.scale: TimeScale = Microseconds()
        self.highest: int | None = None
        """The highest order value that was read."""

    async def observe(self, session: Session) -> int | None:
        """Return the horizon.

        Raises:
            TableChanged: open the session again.
            Unavailable: another session answers than before.
        """
        margin = _MARGIN + self._overlap + session.shape.spread
        self.scale = session.shape.scale
        found = await session.connection.fetchrow(bounds.state(session.shape, margin))
        assert found is not None
        if found["pid"] != session.pid:
            raise Unavailable(
                f"{self._place}: another server process answers than before: found a pooler in transaction mode;"
                " connect directly, or through a pooler in session mode"
            )
        if found["identity"] is None:
            raise Unavailable(f"{self._place}: the table does not exist")
        if found["identity"] != session.identity:
            raise TableChanged
        self.next = found["clock"]
        self._running = await session.connection.fetch(bounds.running(session.shape))
        # After the running ones: a transaction that is prepared in between is in one of the lists.
        prepared = await session.connection.fetch(bounds.PREPARED) if session.two_phase else ()
        horizon = session.horizon
        bound = self._bound(found)
        horizon.observe(bound, {row["id"] for row in self._running}, {row[0] for row in prepared})
        if self._by_time and not prepared and bound is not None:
            await self._raise_to_oldest(session, bound, margin)
        return horizon.value

    def holder(self, session: Session | None) -> str | None:
        """Describe the transactions that hold the horizon back; None if there are none."""
        waits_for = frozenset[str]() if session is None else session.horizon.waits_for
        found = [row for row in self._running if row["id"] in waits_for]
        if not waits_for:
            return None
        shown = ", ".join(f"process {row['pid']} of {row['user'] or 'an unknown user'}" for row in found[:_SHOWN])
        more = f" and {len(waits_for) - len(found[:_SHOWN])} more" if len(waits_for) > len(found[:_SHOWN]) else ""
        return f"{shown}{more}" if shown else "prepared for a two-phase commit"

    def _bound(self, found: asyncpg.Record) -> int | None:
        if not self._by_time:
            # Without a sequence to ask, the highest key that was read: transactions that begin later get higher ones.
            known = self.highest if found["bound"] is None else found["bound"]
            return self._delayed.observe(known, self._clock.monotonic())
        bound: int = found["bound"]
        if "latest" not in found.keys():  # noqa: SIM118 -- a Record iterates over values
            return self.scale.at(bound)
        self.local_clock.observe(found["latest"], found["utc"], found["clock"])
        return min(bound, self._local_bound(found["utc"]))

    def _local_bound(self, utc: int) -> int:
        return self.local_clock.bound(utc) - int((_MARGIN + self._overlap) * 1_000_000)

    async def _raise_to_oldest(self, session: Session, bound: int, margin: float) -> None:
        """Raise the horizon to the beginning of the oldest open transaction: none writes a time before it.

        Only where the account may see when each of them began.
        """
        began = [row["began"] for row in self._running]
        if not began or None in began:
            return
        oldest = min(began)
        if self._began is None or self._began[0] != oldest:
            statement = bounds.moment(session.shape, f"$1::timestamptz - interval '{margin:f} s'")
            self._began = oldest, await session.connection.fetchval(f"SELECT {statement}", (oldest,))
        value = self._began[1]
        if value is not None:
            local = self._local_bound(oldest) if session.shape.order_type == "timestamp" else value
            session.horizon.raise_to(min(self.scale.at(min(value, local)), bound))
