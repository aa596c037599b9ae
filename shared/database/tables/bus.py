"""The tables of the PostgreSQL bus.

Its statements are in `shared/bus/postgres/`; the revision that creates the tables explains them.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    Sequence,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from shared.database.tables.schema import metadata

bus_tx = Sequence("bus_tx", data_type=BigInteger, metadata=metadata)

bus_topics = Table(
    "bus_topics",
    metadata,
    Column("id", Integer, Identity(), primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("epoch", Text, nullable=False, comment="id that no other topic of the name has"),
    Column("partitions", Integer, nullable=False),
    Column("compact", Boolean, nullable=False),
    Column("retention_ms", BigInteger, comment="null: without limit"),
)

bus_partitions = Table(
    "bus_partitions",
    metadata,
    Column("id", Integer, Identity(), primary_key=True),
    Column("topic_id", Integer, ForeignKey(bus_topics.c.id, ondelete="CASCADE"), nullable=False),
    Column("number", Integer, nullable=False),
    Column("earliest_offset", BigInteger, nullable=False, server_default=text("0")),
    Column("end_offset", BigInteger, nullable=False, server_default=text("0")),
    Column("newest_ms", BigInteger, nullable=False, server_default=text("0")),
    UniqueConstraint("topic_id", "number"),
    comment="A commit to a partition locks its row.",
)

bus_batches = Table(
    "bus_batches",
    metadata,
    Column("partition_id", Integer, primary_key=True, autoincrement=False),
    Column("last_offset", BigInteger, primary_key=True, autoincrement=False),
    Column("tx", BigInteger, nullable=False),
    Column("first_n", Integer, nullable=False),
    Column("records", Integer, nullable=False),
    Column("bytes", Integer, nullable=False, comment="of all its records: readers bound their fetches by it"),
    Column("written_ms", BigInteger, nullable=False),
    comment="Records first_n .. first_n + records - 1 of tx have consecutive offsets up to last_offset.",
)

bus_records = Table(
    "bus_records",
    metadata,
    Column("tx", BigInteger, primary_key=True, autoincrement=False),
    Column("n", Integer, primary_key=True, autoincrement=False),
    Column("key", LargeBinary, nullable=False),
    Column("value", LargeBinary),
    Column("headers", LargeBinary, comment="MessagePack"),
)

bus_latest = Table(
    "bus_latest",
    metadata,
    Column("partition_id", Integer, primary_key=True, autoincrement=False),
    Column("key", LargeBinary, primary_key=True),
    Column("record_offset", BigInteger, nullable=False),
    Column("value", LargeBinary),
    Column("headers", LargeBinary, comment="MessagePack"),
    Column("written_ms", BigInteger, nullable=False),
    Index(None, "partition_id", "record_offset"),
    Index(None, "written_ms", postgresql_where=text("value IS NULL")),
    comment="The latest record of each key of compacted topics.",
)

bus_writers = Table(
    "bus_writers",
    metadata,
    Column("name", Text, primary_key=True),
    Column("epoch", BigInteger, nullable=False),
)

bus_offsets = Table(
    "bus_offsets",
    metadata,
    Column("reader_group", Text, primary_key=True),
    Column("partition_id", Integer, primary_key=True, autoincrement=False),
    Column("next_offset", BigInteger, nullable=False),
)

bus_claims = Table(
    "bus_claims",
    metadata,
    Column("reader_group", Text, primary_key=True),
    Column("partition_id", Integer, primary_key=True, autoincrement=False),
    Column("lease", Text, nullable=False, comment="of the member that has it: valid while the lease is"),
    Column("lease_epoch", BigInteger, nullable=False),
    comment="Which member of a group has which partition.",
)
