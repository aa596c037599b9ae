"""A replication slot and its publication: what the server tells of them, how they are made and removed."""

from dataclasses import dataclass

import asyncpg

from services.system_api.sources.table.postgresql.bounds import literal
from services.system_api.sources.table.sql import quoted
from shared.errors import SettingsError, Unavailable

_STATUS = """
    SELECT s.plugin, s.database = current_database() AS here, s.active_pid, s.confirmed_flush_lsn AS confirmed,
           pg_wal_lsn_diff(pg_current_wal_insert_lsn(), s.restart_lsn)::bigint AS lag, s.wal_status, s.safe_wal_size,
           pg_current_wal_flush_lsn() AS flushed
    FROM (SELECT 1) one LEFT JOIN pg_replication_slots s ON s.slot_name = $1
"""
_SYSTEM = """
    SELECT (SELECT system_identifier::text FROM pg_control_system()) || '/' || d.oid,
           current_setting('wal_level') = 'logical', pg_is_in_recovery()
    FROM pg_database d WHERE d.datname = current_database()
"""
_PUBLISHED = """
    SELECT p.pubinsert AND p.pubupdate AND p.pubdelete AND p.pubtruncate AS all_changes,
           t.tablename IS NOT NULL AS included, t.rowfilter AS condition, CASE WHEN EXISTS (
               SELECT FROM pg_attribute a
               WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
                 AND a.attname <> ALL (t.attnames)
           ) THEN t.attnames::text[] END AS columns,
           concat_ws(' ', p.oid, p.xmin, (
               SELECT string_agg(r.oid::text, ',' ORDER BY r.oid) FROM pg_publication_rel r
               WHERE r.prpubid = p.oid AND (r.prrelid = c.oid OR r.prrelid IN (SELECT pg_partition_ancestors(c.oid)))
           ), (
               SELECT s.oid FROM pg_publication_namespace s WHERE s.pnpubid = p.oid AND s.pnnspid = c.relnamespace
           )) AS identity
    FROM pg_publication p
    CROSS JOIN pg_class c
    JOIN pg_namespace n ON n.oid = c.relnamespace
    LEFT JOIN pg_publication_tables t
      ON t.pubname = p.pubname AND (t.schemaname, t.tablename) = (n.nspname, c.relname)
    WHERE p.pubname = $1 AND c.oid = $2
"""
# A partition has an identity of its own, which is that of its changes. An index may have columns beside its key.
_IDENTITY = """
    SELECT c.oid = $1 AS named, c.oid::regclass::text AS name, c.relreplident::text AS identity,
           c.relkind::text AS kind, c.relpersistence::text AS persistence, ARRAY(
        SELECT a.attname::text
        FROM pg_index x
        CROSS JOIN generate_series(0, x.indnkeyatts - 1) k
        JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = x.indkey[k]
        WHERE x.indrelid = c.oid AND CASE c.relreplident WHEN 'i' THEN x.indisreplident ELSE x.indisprimary END
    ) AS columns
    FROM pg_class c
    WHERE c.oid = $1 OR c.oid IN (SELECT relid FROM pg_partition_tree($1) WHERE isleaf)
    ORDER BY c.oid <> $1, c.oid
"""


@dataclass(frozen=True, slots=True)
class Slot:
    """The names of what a source reads from."""

    name: str
    publication: str


@dataclass(frozen=True, slots=True)
class Status:
    """The state of a slot. LSNs are numbers."""

    confirmed: int
    """Up to where the server knows that everything was read."""
    flushed: int
    """The end of the log."""
    lag: int
    """Bytes of the log that the server keeps for the slot."""
    left: int | None
    """Bytes that may be written until the slot is lost; None: there is no limit (`max_slot_wal_keep_size`)."""


async def system_of(connection: asyncpg.Connection) -> str:
    """Return what identifies the server and the database.

    Raises:
        SettingsError: the server does not decode its log.
    """
    system, logical, standby = await connection.fetchrow(_SYSTEM) or (None, False, False)
    if standby:
        raise SettingsError("url: this server is a standby, where a slot cannot be read; set the primary")
    if not logical:
        raise SettingsError(
            "mode: the server has no logical replication: set wal_level = logical in postgresql.conf, and restart it"
        )
    return str(system)


async def status_of(connection: asyncpg.Connection, slot: Slot) -> Status | None:
    """Return the state of the slot; None: there is none.

    Raises:
        SettingsError: it is another one than expected, or the server has removed log that was not read.
    """
    found = await connection.fetchrow(_STATUS, slot.name)
    if found is None or found["plugin"] is None:
        return None
    if found["plugin"] != "pgoutput" or not found["here"]:
        raise SettingsError(
            f"slot: slot {slot.name!r} is one of the plugin {found['plugin']}, perhaps of another database;"
            " expected pgoutput and this database: set another name"
        )
    if found["wal_status"] == "lost" or found["lag"] is None:
        raise SettingsError(
            f"slot: slot {slot.name!r} is lost: the server has removed log that was not read (max_slot_wal_keep_size),"
            " and changes are missing; drop the slot, create it again, and rewind the source to the beginning"
        )
    return Status(found["confirmed"], found["flushed"], found["lag"], found["safe_wal_size"])


def check_place(slot: Slot, status: Status, lsn: int) -> None:
    """Check that the log has everything that follows a place: the one up to which it was read.

    Raises:
        SettingsError: it has not: changes are missing, or would be missed.
    """
    if status.confirmed > lsn:
        raise SettingsError(
            f"slot: slot {slot.name!r} is {status.confirmed - lsn} bytes of log behind the place of the"
            " checkpoint: something else has read it, it was created again, or the source was rewound to an old"
            " position; the changes in between are not in it: rewind the source to the beginning, for a new snapshot"
        )
    if status.flushed < lsn:
        # What is written next would have lower places than what was read, and be taken for it.
        raise SettingsError(
            f"slot: the log of the server ends {lsn - status.flushed} bytes before the place of the checkpoint: the"
            " server lacks transactions that were published, as after a failover to a standby that was behind, or from"
            " a backup; rewind the source to the beginning, for a new snapshot"
        )


@dataclass(frozen=True, slots=True)
class Published:
    """What the log has of a table."""

    condition: str | None = None
    """The condition on the rows, in SQL; None: all rows."""
    columns: tuple[str, ...] | None = None
    """The columns; None: all of them."""
    identity: str = ""
    """What differs once the publication was altered or created again, or has the table again."""


async def check_published(connection: asyncpg.Connection, slot: Slot, table: str, oid: int) -> Published:
    """Check that the publication has all changes of the table; return of which rows and columns.

    Raises:
        SettingsError: it has not.
    """
    found = await connection.fetchrow(_PUBLISHED, slot.publication, oid)
    if found is None:
        raise SettingsError(
            f"publication: there is no publication {slot.publication!r}: set `create_slot: true`, or let the owner of"
            f" the table run {creation(slot, table)}"
        )
    if not found["included"]:
        raise SettingsError(
            f"publication: publication {slot.publication!r} does not have table {table} (any more, if it was created"
            f" again): ALTER PUBLICATION {quoted(slot.publication)} ADD TABLE {table}; of a partitioned table it has"
            " the changes under the name of that table with publish_via_partition_root = true, else under those of"
            " its partitions"
        )
    if not found["all_changes"]:
        raise SettingsError(
            f"publication: publication {slot.publication!r} leaves out changes: ALTER PUBLICATION"
            f" {quoted(slot.publication)} SET (publish = 'insert, update, delete, truncate')"
        )
    columns = None if found["columns"] is None else tuple(found["columns"])
    return Published(found["condition"], columns, found["identity"])


async def restricted(connection: asyncpg.Connection, oid: int) -> bool:
    """Return whether policies of row-level security leave out rows of the table for this account.

    They apply to the rows of a snapshot, and not to the log.
    """
    return bool(await connection.fetchval("SELECT row_security_active($1::oid)", oid))


async def check_identity(connection: asyncpg.Connection, table: str, oid: int, needed: list[tuple[str, str]]) -> None:
    """Check that the log has the key of updated and deleted rows: `needed` are settings and their columns.

    Raises:
        SettingsError: it has not.
    """
    for found in await connection.fetch(_IDENTITY, oid):
        partitioned = found["kind"] == "p"
        if not (partitioned and found["named"]) and (found["kind"] != "r" or found["persistence"] != "p"):
            name = table if found["named"] else f"{found['name']}, a partition of {table},"
            raise SettingsError(f"table: {name} is not a table whose changes are in the log; set the table beneath")
        if not partitioned and found["identity"] != "f":
            _check_columns(found, table, needed)


def _check_columns(found: asyncpg.Record, table: str, needed: list[tuple[str, str]]) -> None:
    """Check that the identity of a table, or of a partition of it, has certain columns."""
    place = table if found["named"] else found["name"]
    for setting, column in needed:
        if found["identity"] == "n" or column not in found["columns"]:
            raise SettingsError(
                f"{setting}: table {place}: column {column!r} is not in the replica identity, so the log has no"
                f" {setting} of deleted rows: ALTER TABLE {place} REPLICA IDENTITY FULL, or USING INDEX with a unique"
                " index that has it"
            )


def creation(slot: Slot, table: str) -> str:
    """Return the statement that creates the publication; `table` is quoted."""
    return f"CREATE PUBLICATION {quoted(slot.publication)} FOR TABLE {table} WITH (publish_via_partition_root = true)"


async def create(connection: asyncpg.Connection, slot: Slot, table: str, *, timeout: float | None = None) -> list[str]:
    """Create what does not exist; return what was created. Each is created on its own, the publication first.

    `timeout` instead of that of the connection.
    """
    made = []
    if not await connection.fetchval("SELECT count(*) FROM pg_publication WHERE pubname = $1", slot.publication):
        await connection.execute(creation(slot, table), timeout=timeout)
        made.append(f"publication {slot.publication}")
    if not await connection.fetchval("SELECT count(*) FROM pg_replication_slots WHERE slot_name = $1", slot.name):
        await connection.execute(
            "SELECT pg_create_logical_replication_slot($1, 'pgoutput')", slot.name, timeout=timeout
        )
        made.append(f"slot {slot.name}")
    return made


async def drop(connection: asyncpg.Connection, slot: Slot) -> list[str]:
    """Drop what exists; return what was dropped."""
    gone = []
    if await connection.fetchval("SELECT count(*) FROM pg_replication_slots WHERE slot_name = $1", slot.name):
        try:
            await connection.execute("SELECT pg_drop_replication_slot($1)", slot.name)
        except asyncpg.ObjectInUseError as exc:
            raise Unavailable(
                f"{exc.args[0]}: pause the source first (`trelay sources pause`), then try again"
            ) from exc
        gone.append(f"slot {slot.name}")
    if await connection.fetchval("SELECT count(*) FROM pg_publication WHERE pubname = $1", slot.publication):
        await connection.execute(f"DROP PUBLICATION {quoted(slot.publication)}")
        gone.append(f"publication {slot.publication}")
    return gone


def peek(slot: Slot, upto: int, changes: int, cut: int) -> str:
    """Return the query for the messages up to an LSN, about `changes` of them, without confirming that they were read.

    Each: size and content, which is NULL if it is larger than the setting `trelay.inline`, and cut off after `cut`.
    """
    lsn = literal(f"{upto >> 32:X}/{upto & 0xFFFFFFFF:X}")
    publication = literal(quoted(slot.publication))
    return f"""
        SELECT octet_length(data), CASE
            WHEN octet_length(data) <= current_setting('trelay.inline')::int THEN substring(data FOR {cut})
        END
        FROM pg_logical_slot_peek_binary_changes(
            {literal(slot.name)}, {lsn}::pg_lsn, {changes}, 'proto_version', '1', 'publication_names', {publication}
        )
    """  # noqa: S608 -- every value is a literal
