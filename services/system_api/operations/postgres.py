"""Controls and statuses in the tables `trelay.source_controls` and `trelay.source_statuses`."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager

import asyncpg

from services.system_api.operations.requests import Command, Control, Outcome, Request
from services.system_api.operations.store import SharedStatus
from services.system_api.operations.windows import COUNTS, Window
from shared.database.notified_store import NotifiedStore

CHANNEL = "trelay_source_controls"
"""The channel of notifications about changed controls."""
_ALL = "controls"

_SECONDS = "extract(epoch FROM {0})::float8 AS {0}"
_COLUMNS = ", ".join(
    (
        *("source", "paused", "reason", "changed_by", _SECONDS.format("changed_at"), "polls"),
        *("generation", "command", "place", "requested_by", _SECONDS.format("requested_at")),
        *("done_generation", "error", "result", _SECONDS.format("done_at")),
    )
)
_CONTROLS = f"SELECT {_COLUMNS} FROM trelay.source_controls"  # noqa: S608 -- constants of this module
_PRESENT = "INSERT INTO trelay.source_controls (source) VALUES ($1) ON CONFLICT (source) DO NOTHING"
_UPDATE = "UPDATE trelay.source_controls SET {} WHERE source = $1 {} RETURNING " + _COLUMNS  # noqa: S608 -- the same

_PAUSE = _UPDATE.format("paused = $2, changed_by = $3, reason = $4, changed_at = clock_timestamp()", "")
_POLL = _UPDATE.format("polls = polls + 1", "")
_NEXT_GENERATION = "greatest(generation + 1, (extract(epoch FROM clock_timestamp()) * 1000)::bigint)"
_REQUEST = _UPDATE.format(
    f"generation = {_NEXT_GENERATION}, command = $2, place = $3, requested_by = $4, requested_at = clock_timestamp()",
    "",
)
_SETTLE = _UPDATE.format(
    "done_generation = $2, error = $3, result = $4, done_at = clock_timestamp()", "AND done_generation < $2"
)
_STATUSES = f"SELECT source, node, epoch, status, {_SECONDS.format('updated_at')} FROM trelay.source_statuses"  # noqa: S608 -- the same
_PUBLISH = """
WITH given AS (
    SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[], $4::text[], $5::bigint[], $6::bigint[], $7::bigint[],
        $8::bigint[]) AS given (source, node, epoch, status, rows, published, rejected, skipped)
), accepted AS (
    INSERT INTO trelay.source_statuses AS known (source, node, epoch, status, updated_at)
    SELECT source, node, epoch, status, clock_timestamp() FROM given
    ON CONFLICT (source) DO UPDATE
    SET node = excluded.node, epoch = excluded.epoch, status = excluded.status, updated_at = excluded.updated_at
    WHERE known.epoch <= excluded.epoch
    RETURNING source
)
INSERT INTO trelay.source_windows (source, began_at, rows, published, rejected, skipped)
SELECT source, date_trunc('hour', clock_timestamp(), 'UTC'), rows, published, rejected, skipped
FROM given JOIN accepted USING (source)
ON CONFLICT (source, began_at) DO UPDATE
SET rows = excluded.rows, published = excluded.published, rejected = excluded.rejected, skipped = excluded.skipped
"""
_WINDOWS = f"""
SELECT {_SECONDS.format("began_at")}, rows, published, rejected, skipped
FROM trelay.source_windows WHERE source = $1 AND began_at >= coalesce(
    (SELECT max(began_at) FROM trelay.source_windows WHERE source = $1 AND began_at < to_timestamp($2)),
    to_timestamp($2)
) ORDER BY source_windows.began_at
"""  # noqa: S608 -- constants of this module
_FORGET_WINDOWS = "DELETE FROM trelay.source_windows WHERE began_at < to_timestamp($1)"


class PostgresSourceStore(NotifiedStore):
    """A `SourceStore` that all replicas share."""

    CHANNEL = CHANNEL
    CONNECTIONS = 2
    PURPOSE = "source operations"

    @property
    def lasting(self) -> bool:
        """Statuses are in a table."""
        return True

    async def controls(self) -> Mapping[str, Control]:
        """Return what operators ask, by source."""
        async with self._pool.use() as connection:
            rows = await connection.fetch(_CONTROLS)
        return {row["source"]: _control(row) for row in rows}

    async def pause(self, source: str, by: str, reason: str) -> Control:
        """Ask that the source be paused."""
        return await self._change(_PAUSE, source, True, by, reason)  # noqa: FBT003 -- a value of the statement

    async def resume(self, source: str, by: str) -> Control:
        """Ask that the source run."""
        return await self._change(_PAUSE, source, False, by, "")  # noqa: FBT003 -- the same

    async def poll(self, source: str) -> Control:
        """Ask for a poll now."""
        return await self._change(_POLL, source)

    async def request(self, source: str, command: Command, place: str | None, by: str) -> Control:
        """Ask for something that is carried out once."""
        return await self._change(_REQUEST, source, command, place, by)

    async def settle(self, source: str, outcome: Outcome) -> None:
        """Note what came of a request."""
        result = json.dumps(dict(outcome.result))
        async with self._pool.use() as connection:
            await connection.fetchrow(_SETTLE, source, outcome.generation, outcome.error, result)
            await connection.execute("SELECT pg_notify($1, $2)", CHANNEL, source)

    async def publish(self, statuses: Sequence[SharedStatus]) -> None:
        """Publish statuses."""
        # In one order, so that two replicas that publish the same sources never wait for each other.
        ordered = sorted(statuses, key=lambda status: status.source)
        columns = [
            [status.source for status in ordered],
            [status.node for status in ordered],
            [status.epoch for status in ordered],
            [json.dumps(dict(status.status)) for status in ordered],
            *([status.status["counts"][name] for status in ordered] for name in COUNTS),
        ]
        async with self._pool.use() as connection:
            await connection.execute(_PUBLISH, *columns)

    async def windows(self, source: str, since: float) -> Sequence[Window]:
        """Return the windows since a time, and the last one before it."""
        async with self._pool.use() as connection:
            rows = await connection.fetch(_WINDOWS, source, since)
        return [Window(row["began_at"], {name: row[name] for name in COUNTS}) for row in rows]

    async def forget_windows(self, before: float) -> None:
        """Forget old windows."""
        async with self._pool.use() as connection:
            await connection.execute(_FORGET_WINDOWS, before)

    async def status(self, source: str) -> SharedStatus | None:
        """Return what was published last of one source."""
        async with self._pool.use() as connection:
            row = await connection.fetchrow(f"{_STATUSES} WHERE source = $1", source)
        return None if row is None else _status(row)

    async def statuses(self) -> Mapping[str, SharedStatus]:
        """Return what was published last, by source."""
        async with self._pool.use() as connection:
            rows = await connection.fetch(_STATUSES)
        return {row["source"]: _status(row) for row in rows}

    def watch(self) -> AbstractContextManager[asyncio.Event]:
        """Watch the controls."""
        return self._watchers.watch([_ALL])

    def _keys_of(self, payload: str) -> Sequence[str]:  # noqa: ARG002 -- all watch all of them
        return [_ALL]

    async def _change(self, statement: str, source: str, *values: object) -> Control:
        async with self._pool.use() as connection, connection.transaction():
            await connection.execute(_PRESENT, source)
            row = await connection.fetchrow(statement, source, *values)
            await connection.execute("SELECT pg_notify($1, $2)", CHANNEL, source)
        assert row is not None, "inserted before, and never deleted"
        return _control(row)


def _status(row: asyncpg.Record) -> SharedStatus:
    return SharedStatus(row["source"], row["node"], row["epoch"], json.loads(row["status"]), row["updated_at"])


def _control(row: asyncpg.Record) -> Control:
    request = outcome = None
    if row["command"] is not None:
        command = Command(row["command"])
        request = Request(row["generation"], command, row["place"], row["requested_by"], row["requested_at"])
    if row["done_generation"]:
        outcome = Outcome(row["done_generation"], row["error"], json.loads(row["result"]), row["done_at"])
    return Control(row["paused"], row["reason"], row["changed_by"], row["changed_at"], row["polls"], request, outcome)
