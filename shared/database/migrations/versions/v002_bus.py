"""The PostgreSQL bus: its tables, and the functions that write to them.

A record is stored before its offset is known, under the number of its transaction and its own number in it. A row in
`bus_batches` gives a run of such records their offsets in a partition. So storing records takes no locks, and many
writers do it at the same time; only `bus_commit` takes locks, in one order, for the time of a commit.

Later revisions do not replace the functions in place: during a rolling upgrade both releases call them.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.schema import CreateSequence, DropSequence, Sequence

from shared.database.tables.schema import SCHEMA

revision = "002"
down_revision = "001"

_COMMIT = """
CREATE FUNCTION trelay.bus_commit(
    in_writer text, in_epoch bigint,
    in_tx bigint, in_partitions int[], in_records int[], in_bytes int[],
    in_latest int[], in_keys bytea[], in_values bytea[], in_headers bytea[],
    in_group text, in_offset_partitions int[], in_offsets bigint[]
) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    new_end bigint;
    new_time bigint;
    next_n int := 0;
    compacted record;
BEGIN
    -- 1. The writer. A shared lock: a newer writer, which updates the row, waits for the end of this transaction.
    IF in_writer IS NOT NULL THEN
        PERFORM FROM trelay.bus_writers WHERE name = in_writer AND epoch = in_epoch FOR SHARE;
        IF NOT FOUND THEN
            RAISE EXCEPTION 'fenced by a newer writer of this name' USING ERRCODE = 'TR001';
        END IF;
    END IF;

    -- 2. The partitions, locked by all in the same order, so there is no deadlock.
    IF cardinality(in_partitions) + cardinality(in_latest) > 1 THEN
        PERFORM FROM trelay.bus_partitions WHERE id = ANY (in_partitions || in_latest) ORDER BY id FOR NO KEY UPDATE;
    END IF;

    -- 3. Offsets for the records that are stored already. The row stays locked until this transaction has ended, so
    --    later commits get later offsets, and no reader sees a gap that fills up later. Times do not decrease either.
    FOR i IN 1 .. cardinality(in_partitions) LOOP
        UPDATE trelay.bus_partitions
        SET end_offset = end_offset + in_records[i],
            newest_ms = greatest(newest_ms, (extract(epoch FROM clock_timestamp()) * 1000)::bigint)
        WHERE id = in_partitions[i]
        RETURNING end_offset, newest_ms INTO new_end, new_time;
        IF NOT FOUND THEN
            RAISE EXCEPTION 'partition % does not exist', in_partitions[i] USING ERRCODE = 'TR002';
        END IF;
        INSERT INTO trelay.bus_batches (partition_id, last_offset, tx, first_n, records, bytes, written_ms)
        VALUES (in_partitions[i], new_end - 1, in_tx, next_n, in_records[i], in_bytes[i], new_time);
        next_n := next_n + in_records[i];
    END LOOP;

    -- 4. Records of compacted topics: each replaces the record before of its key.
    IF cardinality(in_latest) > 0 THEN
        FOR compacted IN SELECT id, count(*) AS records FROM unnest(in_latest) AS id GROUP BY id ORDER BY id LOOP
            UPDATE trelay.bus_partitions
            SET end_offset = end_offset + compacted.records,
                newest_ms = greatest(newest_ms, (extract(epoch FROM clock_timestamp()) * 1000)::bigint)
            WHERE id = compacted.id
            RETURNING end_offset, newest_ms INTO new_end, new_time;
            IF NOT FOUND THEN
                RAISE EXCEPTION 'partition % does not exist', compacted.id USING ERRCODE = 'TR002';
            END IF;
            INSERT INTO trelay.bus_latest AS latest (partition_id, key, record_offset, value, headers, written_ms)
            SELECT
                id, key, new_end - compacted.records - 1 + row_number() OVER (ORDER BY place), value, headers, new_time
            FROM unnest(in_latest, in_keys, in_values, in_headers) WITH ORDINALITY
                AS latest_records (id, key, value, headers, place)
            WHERE id = compacted.id
            ON CONFLICT (partition_id, key) DO UPDATE
            SET record_offset = excluded.record_offset, value = excluded.value, headers = excluded.headers,
                written_ms = excluded.written_ms;
        END LOOP;
    END IF;

    -- 5. The committed offsets of the group.
    IF cardinality(in_offset_partitions) > 0 THEN
        INSERT INTO trelay.bus_offsets (reader_group, partition_id, next_offset)
        SELECT in_group, id, next_offset
        FROM unnest(in_offset_partitions, in_offsets) AS committed (id, next_offset) ORDER BY id
        ON CONFLICT (reader_group, partition_id) DO UPDATE SET next_offset = excluded.next_offset;
    END IF;
END $$
"""

# A small transaction in one round trip. An array costs the client twice as much CPU for each record as COPY does.
_WRITE = """
CREATE FUNCTION trelay.bus_write(
    in_record_keys bytea[], in_record_values bytea[], in_record_headers bytea[],
    in_writer text, in_epoch bigint,
    in_partitions int[], in_records int[], in_bytes int[],
    in_latest int[], in_keys bytea[], in_values bytea[], in_headers bytea[],
    in_group text, in_offset_partitions int[], in_offsets bigint[]
) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    new_tx bigint;
BEGIN
    IF cardinality(in_record_keys) > 0 THEN
        new_tx := nextval('trelay.bus_tx');
        INSERT INTO trelay.bus_records (tx, n, key, value, headers)
        SELECT new_tx, generate_series(0, cardinality(in_record_keys) - 1),
               unnest(in_record_keys), unnest(in_record_values), unnest(in_record_headers);
    END IF;
    PERFORM trelay.bus_commit(
        in_writer, in_epoch, new_tx, in_partitions, in_records, in_bytes,
        in_latest, in_keys, in_values, in_headers, in_group, in_offset_partitions, in_offsets
    );
END $$
"""

# The commit that deletes records also sets the earliest offset for readers.
_TRIM = """
CREATE FUNCTION trelay.bus_trim(in_partition int, in_below bigint) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    deleted bigint;
BEGIN
    WITH gone AS (
        DELETE FROM trelay.bus_batches WHERE partition_id = in_partition AND last_offset < in_below
        RETURNING tx, first_n, records
    )
    DELETE FROM trelay.bus_records USING gone
    WHERE bus_records.tx = gone.tx AND n >= gone.first_n AND n < gone.first_n + gone.records;
    GET DIAGNOSTICS deleted = ROW_COUNT;
    UPDATE trelay.bus_partitions SET earliest_offset = in_below WHERE id = in_partition AND earliest_offset < in_below;
    RETURN deleted;
END $$
"""

_FUNCTIONS = {"bus_commit": _COMMIT, "bus_write": _WRITE, "bus_trim": _TRIM}
_TABLES = (
    "bus_claims",
    "bus_offsets",
    "bus_writers",
    "bus_latest",
    "bus_records",
    "bus_batches",
    "bus_partitions",
    "bus_topics",
)
_HOT = {"fillfactor": 20}  # every commit updates these rows: with room on the page, indexes need no update


def upgrade() -> None:
    _create_topics()
    _create_records()
    _create_owners()
    for function in _FUNCTIONS.values():
        op.execute(function)


def _create_topics() -> None:
    op.create_table(
        "bus_topics",
        sa.Column("id", sa.Integer, sa.Identity(), nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("epoch", sa.Text, nullable=False, comment="id that no other topic of the name has"),
        sa.Column("partitions", sa.Integer, nullable=False),
        sa.Column("compact", sa.Boolean, nullable=False),
        sa.Column("retention_ms", sa.BigInteger, nullable=True, comment="null: without limit"),
        sa.PrimaryKeyConstraint("id", name="bus_topics_pkey"),
        sa.UniqueConstraint("name", name="bus_topics_name_key"),
        schema=SCHEMA,
    )
    op.create_table(
        "bus_partitions",
        sa.Column("id", sa.Integer, sa.Identity(), nullable=False),
        sa.Column("topic_id", sa.Integer, nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("earliest_offset", sa.BigInteger, nullable=False, server_default=sa.text("0")),
        sa.Column("end_offset", sa.BigInteger, nullable=False, server_default=sa.text("0")),
        sa.Column("newest_ms", sa.BigInteger, nullable=False, server_default=sa.text("0")),
        sa.PrimaryKeyConstraint("id", name="bus_partitions_pkey"),
        sa.UniqueConstraint("topic_id", "number", name="bus_partitions_topic_id_key"),
        sa.ForeignKeyConstraint(
            ["topic_id"], [f"{SCHEMA}.bus_topics.id"], name="bus_partitions_topic_id_fkey", ondelete="CASCADE"
        ),
        schema=SCHEMA,
        comment="A commit to a partition locks its row.",
        postgresql_with=_HOT,
    )


def _create_records() -> None:
    op.execute(CreateSequence(Sequence("bus_tx", schema=SCHEMA, data_type=sa.BigInteger)))
    op.create_table(
        "bus_batches",
        sa.Column("partition_id", sa.Integer, nullable=False),
        sa.Column("last_offset", sa.BigInteger, nullable=False),
        sa.Column("tx", sa.BigInteger, nullable=False),
        sa.Column("first_n", sa.Integer, nullable=False),
        sa.Column("records", sa.Integer, nullable=False),
        sa.Column("bytes", sa.Integer, nullable=False, comment="of all its records: readers bound their fetches by it"),
        sa.Column("written_ms", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("partition_id", "last_offset", name="bus_batches_pkey"),
        schema=SCHEMA,
        comment="Records first_n .. first_n + records - 1 of tx have consecutive offsets up to last_offset.",
    )
    op.create_table(
        "bus_records",
        sa.Column("tx", sa.BigInteger, nullable=False),
        sa.Column("n", sa.Integer, nullable=False),
        sa.Column("key", sa.LargeBinary, nullable=False),
        sa.Column("value", sa.LargeBinary, nullable=True),
        sa.Column("headers", sa.LargeBinary, nullable=True, comment="MessagePack"),
        sa.PrimaryKeyConstraint("tx", "n", name="bus_records_pkey"),
        schema=SCHEMA,
        # Records up to the size of a page stay in it, and none is compressed: moving or compressing a record would cost
        # more CPU than storing it.
        postgresql_with={"toast_tuple_target": 8160},
    )
    op.create_table(
        "bus_latest",
        sa.Column("partition_id", sa.Integer, nullable=False),
        sa.Column("key", sa.LargeBinary, nullable=False),
        sa.Column("record_offset", sa.BigInteger, nullable=False),
        sa.Column("value", sa.LargeBinary, nullable=True),
        sa.Column("headers", sa.LargeBinary, nullable=True, comment="MessagePack"),
        sa.Column("written_ms", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("partition_id", "key", name="bus_latest_pkey"),
        sa.Index("bus_latest_partition_id_record_offset_idx", "partition_id", "record_offset"),
        schema=SCHEMA,
        comment="The latest record of each key of compacted topics.",
        postgresql_with={"fillfactor": 50},
    )
    for table in ("bus_records", "bus_latest"):
        op.execute(f"ALTER TABLE {SCHEMA}.{table} ALTER value SET STORAGE EXTERNAL")


def _create_owners() -> None:
    op.create_table(
        "bus_writers",
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("epoch", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("name", name="bus_writers_pkey"),
        schema=SCHEMA,
        postgresql_with=_HOT,
    )
    op.create_table(
        "bus_offsets",
        sa.Column("reader_group", sa.Text, nullable=False),
        sa.Column("partition_id", sa.Integer, nullable=False),
        sa.Column("next_offset", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("reader_group", "partition_id", name="bus_offsets_pkey"),
        schema=SCHEMA,
        postgresql_with=_HOT,
    )
    op.create_table(
        "bus_claims",
        sa.Column("reader_group", sa.Text, nullable=False),
        sa.Column("partition_id", sa.Integer, nullable=False),
        sa.Column("lease", sa.Text, nullable=False, comment="of the member that has it: valid while the lease is"),
        sa.Column("lease_epoch", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("reader_group", "partition_id", name="bus_claims_pkey"),
        schema=SCHEMA,
        comment="Which member of a group has which partition.",
    )


def downgrade() -> None:
    for name in _FUNCTIONS:
        op.execute(f"DROP FUNCTION {SCHEMA}.{name}")
    for table in _TABLES:
        op.drop_table(table, schema=SCHEMA)
    op.execute(DropSequence(Sequence("bus_tx", schema=SCHEMA)))
