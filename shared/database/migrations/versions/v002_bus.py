"""The PostgreSQL bus: its tables, and the functions that write to them.

A record is stored before anybody knows its offset, under the number of its transaction and its own number in it. A
batch row gives a run of such records their place in a partition. So the bulk of a transaction takes no lock, and many
writers store at once; the locks are taken by `bus_commit` alone, in one order, for as long as a commit takes.

The functions are not replaced in place by later revisions: a deployment that is being rolled calls both.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.schema import CreateSequence, DropSequence, Sequence

from shared.database.tables import SCHEMA

revision = "002"
down_revision = "001"

_COMMIT = """
CREATE FUNCTION trelay.bus_commit(
    in_writer text, in_epoch bigint,
    in_tx bigint, in_partitions int[], in_records int[], in_bytes int[],
    in_kept int[], in_keys bytea[], in_values bytea[], in_headers bytea[],
    in_group text, in_settled int[], in_offsets bigint[]
) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    its_end bigint;
    its_time bigint;
    its_first int := 0;
    held record;
BEGIN
    -- 1. The writer. Shared: a newer one, which updates the row, waits for our end, and finds us done or gone.
    IF in_writer IS NOT NULL THEN
        PERFORM FROM trelay.bus_writers WHERE name = in_writer AND epoch = in_epoch FOR SHARE;
        IF NOT FOUND THEN
            RAISE EXCEPTION 'a newer writer has taken over' USING ERRCODE = 'TR001';
        END IF;
    END IF;

    -- 2. The partitions, everybody in the same order: nobody waits in a circle.
    IF cardinality(in_partitions) + cardinality(in_kept) > 1 THEN
        PERFORM FROM trelay.bus_partitions WHERE id = ANY (in_partitions || in_kept) ORDER BY id FOR NO KEY UPDATE;
    END IF;

    -- 3. Places for the records that are stored already. Who commits later gets later offsets, and no reader ever sees
    --    a hole that fills up: the row stays locked until this transaction has ended. Nor does time go back in one.
    FOR i IN 1 .. cardinality(in_partitions) LOOP
        UPDATE trelay.bus_partitions
        SET end_offset = end_offset + in_records[i],
            newest_ms = greatest(newest_ms, (extract(epoch FROM clock_timestamp()) * 1000)::bigint)
        WHERE id = in_partitions[i]
        RETURNING end_offset, newest_ms INTO its_end, its_time;
        IF NOT FOUND THEN
            RAISE EXCEPTION 'partition % is gone', in_partitions[i] USING ERRCODE = 'TR002';
        END IF;
        INSERT INTO trelay.bus_batches (partition_id, last_offset, tx, first_n, records, bytes, written_ms)
        VALUES (in_partitions[i], its_end - 1, in_tx, its_first, in_records[i], in_bytes[i], its_time);
        its_first := its_first + in_records[i];
    END LOOP;

    -- 4. Records of compacted topics: each replaces the one before of its key.
    IF cardinality(in_kept) > 0 THEN
        FOR held IN SELECT id, count(*) AS records FROM unnest(in_kept) AS id GROUP BY id ORDER BY id LOOP
            UPDATE trelay.bus_partitions
            SET end_offset = end_offset + held.records,
                newest_ms = greatest(newest_ms, (extract(epoch FROM clock_timestamp()) * 1000)::bigint)
            WHERE id = held.id
            RETURNING end_offset, newest_ms INTO its_end, its_time;
            IF NOT FOUND THEN
                RAISE EXCEPTION 'partition % is gone', held.id USING ERRCODE = 'TR002';
            END IF;
            INSERT INTO trelay.bus_latest AS latest (partition_id, key, record_offset, value, headers, written_ms)
            SELECT id, key, its_end - held.records - 1 + row_number() OVER (ORDER BY place), value, headers, its_time
            FROM unnest(in_kept, in_keys, in_values, in_headers) WITH ORDINALITY
                AS kept (id, key, value, headers, place)
            WHERE id = held.id
            ON CONFLICT (partition_id, key) DO UPDATE
            SET record_offset = excluded.record_offset, value = excluded.value, headers = excluded.headers,
                written_ms = excluded.written_ms;
        END LOOP;
    END IF;

    -- 5. What the group has done with.
    IF cardinality(in_settled) > 0 THEN
        INSERT INTO trelay.bus_offsets (reader_group, partition_id, next_offset)
        SELECT in_group, id, next_offset FROM unnest(in_settled, in_offsets) AS settled (id, next_offset) ORDER BY id
        ON CONFLICT (reader_group, partition_id) DO UPDATE SET next_offset = excluded.next_offset;
    END IF;
END $$
"""

# A whole transaction in one round trip, for small ones: arrays cost the client twice what COPY costs it a record.
_WRITE = """
CREATE FUNCTION trelay.bus_write(
    in_record_keys bytea[], in_record_values bytea[], in_record_headers bytea[],
    in_writer text, in_epoch bigint,
    in_partitions int[], in_records int[], in_bytes int[],
    in_kept int[], in_keys bytea[], in_values bytea[], in_headers bytea[],
    in_group text, in_settled int[], in_offsets bigint[]
) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    its_tx bigint;
BEGIN
    IF cardinality(in_record_keys) > 0 THEN
        its_tx := nextval('trelay.bus_tx');
        INSERT INTO trelay.bus_records (tx, n, key, value, headers)
        SELECT its_tx, generate_series(0, cardinality(in_record_keys) - 1),
               unnest(in_record_keys), unnest(in_record_values), unnest(in_record_headers);
    END IF;
    PERFORM trelay.bus_commit(
        in_writer, in_epoch, its_tx, in_partitions, in_records, in_bytes,
        in_kept, in_keys, in_values, in_headers, in_group, in_settled, in_offsets
    );
END $$
"""

# Readers are told what is the earliest by the same commit that deletes what lies before it.
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
_HOT = {"fillfactor": 20}  # updated by every commit: room on the page keeps those updates out of the index


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
        sa.Column("epoch", sa.Text, nullable=False, comment="tells it from a later topic of the same name"),
        sa.Column("partitions", sa.Integer, nullable=False),
        sa.Column("compact", sa.Boolean, nullable=False),
        sa.Column("retention_ms", sa.BigInteger, nullable=True, comment="for ever, where null"),
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
        comment="Whoever commits to a partition locks its row.",
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
        sa.Column(
            "bytes", sa.Integer, nullable=False, comment="of all its records: lets a reader bound what it asks for"
        ),
        sa.Column("written_ms", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("partition_id", "last_offset", name="bus_batches_pkey"),
        schema=SCHEMA,
        comment="Records first_n .. first_n + records - 1 of tx, in a row, up to last_offset of the partition.",
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
        # Records up to the size of a page stay in it, and none is compressed: either would cost more CPU than storing
        # the record does.
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
        comment="The records of compacted topics: the latest of each key, compacted as it is written.",
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
        sa.Column("lease", sa.Text, nullable=False, comment="of the member that drives it: good while the lease is"),
        sa.Column("lease_epoch", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("reader_group", "partition_id", name="bus_claims_pkey"),
        schema=SCHEMA,
        comment="Which member of a group drives which partition.",
    )


def downgrade() -> None:
    for name in _FUNCTIONS:
        op.execute(f"DROP FUNCTION {SCHEMA}.{name}")
    for table in _TABLES:
        op.drop_table(table, schema=SCHEMA)
    op.execute(DropSequence(Sequence("bus_tx", schema=SCHEMA)))
