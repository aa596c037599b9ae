"""The tables for SQLAlchemy Core. `migrations` creates them; a test compares the two.

Times are `timestamptz` and always from the clock of the database, so all replicas use one clock.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Double,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Sequence,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

SCHEMA = "trelay"

metadata = MetaData(
    schema=SCHEMA,
    naming_convention={
        "pk": "%(table_name)s_pkey",
        "fk": "%(table_name)s_%(column_0_name)s_fkey",
        "uq": "%(table_name)s_%(column_0_name)s_key",
        "ix": "%(table_name)s_%(column_0_N_name)s_idx",
    },
)

_NOW = func.now()
_NO, _RANDOM = text("false"), func.gen_random_uuid()

clients = Table(
    "clients",
    metadata,
    Column("client_id", Text, primary_key=True),
    Column("secret_hash", Text, nullable=False, comment="prefixed by the scheme that made it"),
    Column("channels", ARRAY(Text), nullable=False, server_default=text("'{}'"), comment="patterns of channels"),
    Column("may_send", Boolean, nullable=False, server_default=_NO),
    Column("loopback_only", Boolean, nullable=False, server_default=_NO),
    Column("disabled", Boolean, nullable=False, server_default=_NO),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=_NOW),
    Column("note", Text, nullable=False, server_default=text("''")),
    Column("policy", Text, nullable=False, server_default=text("'probe'"), comment="of a second connection"),
    Column("max_connections", Integer, nullable=False, server_default=text("1"), comment="at a time"),
    Column("previous_secret_hash", Text, comment="of the secret before this one"),
    Column("previous_secret_until", DateTime(timezone=True), comment="until when the previous secret is valid as well"),
    Index(None, "previous_secret_until", postgresql_where=text("previous_secret_until IS NOT NULL")),
    comment="Applications that may register.",
)

consumers = Table(
    "consumers",
    metadata,
    Column("client_id", Text, ForeignKey(clients.c.client_id, ondelete="CASCADE"), primary_key=True),
    Column("token_hash", LargeBinary, nullable=False, unique=True, comment="SHA-256 of the id in the token"),
    Column("registered_at", DateTime(timezone=True), nullable=False, server_default=_NOW),
    Column("last_seen_at", DateTime(timezone=True), nullable=False, server_default=_NOW, comment="last connected"),
    Column("previous_token_hash", LargeBinary, comment="of the token before this one"),
    Column("previous_until", DateTime(timezone=True), comment="until when the previous token is valid as well"),
    Column("tokens", JSONB(none_as_null=True), comment="of clients with several: hash in hex to time of the last use"),
    Column("ended_at", DateTime(timezone=True), comment="when a connection of it ended last"),
    Column("ended_code", Integer, comment="its close code"),
    Column("ended_reason", Text, comment="the name of its close reason"),
    Column("ended_after", Double, comment="seconds that it had lasted"),
    Index(None, "previous_until", postgresql_where=text("previous_until IS NOT NULL")),
    comment="Registered clients: each has a token and may connect.",
)

connections = Table(
    "connections",
    metadata,
    Column("client_id", Text, ForeignKey(consumers.c.client_id, ondelete="CASCADE"), primary_key=True),
    Column("connection_id", Uuid, nullable=False),
    Column("node", Text, nullable=False, comment="holder of the lease node/<node>"),
    Column("node_epoch", BigInteger, nullable=False, comment="that lease's epoch when the connection was claimed"),
    Column("epoch", BigInteger, nullable=False, comment="grows with each claim of this client"),
    Column("remote", Text, nullable=False),
    Column("connected_at", DateTime(timezone=True), nullable=False, server_default=_NOW),
    Column("token_hash", LargeBinary, comment="of the token that it was claimed with"),
    # Live exactly while its node's lease is, under the same epoch: a node renews one row, not one a connection.
    comment="The one connection of each consumer.",
)

leases = Table(
    "leases",
    metadata,
    Column("name", Text, primary_key=True),
    Column("owner", Text, nullable=False),
    Column("epoch", BigInteger, nullable=False, comment="grows with each new owner"),
    Column("expires_at", DateTime(timezone=True), nullable=False),
    comment="Exclusive rights of one replica: to run a source, to be a node or a member of a group.",
)

signing_keys = Table(
    "signing_keys",
    metadata,
    Column("key_id", Text, primary_key=True, comment="id of the key in tokens"),
    Column("secret", LargeBinary, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=_NOW),
    comment="Keys that sign tokens if the settings have none. Useless alone: of a token, only a hash is stored.",
)

used_tickets = Table(
    "used_tickets",
    metadata,
    Column("ticket_hash", LargeBinary, primary_key=True, comment="SHA-256 of the id of the ticket"),
    Column("used_at", DateTime(timezone=True), nullable=False, server_default=_NOW),
    Index(None, "used_at"),
    comment="Tickets of the last minutes that were used: each can be used once.",
)

source_controls = Table(
    "source_controls",
    metadata,
    Column("source", Text, primary_key=True),
    Column("paused", Boolean, nullable=False, server_default=_NO),
    Column("reason", Text, nullable=False, server_default=text("''")),
    Column("changed_by", Text, nullable=False, server_default=text("''"), comment="who paused or resumed it"),
    Column("changed_at", DateTime(timezone=True)),
    Column("polls", BigInteger, nullable=False, server_default=text("0"), comment="polls that were asked for"),
    Column("generation", BigInteger, nullable=False, server_default=text("0"), comment="grows with each request"),
    Column("command", Text, comment="of the newest request: rewind or snapshot"),
    Column("place", Text, comment="where to, as JSON"),
    Column("requested_by", Text),
    Column("requested_at", DateTime(timezone=True)),
    Column("done_generation", BigInteger, nullable=False, server_default=text("0")),
    Column("error", Text),
    Column("result", Text, comment="JSON"),
    Column("done_at", DateTime(timezone=True)),
    comment="What operators ask of sources. Whether a request was carried out is decided by the checkpoint.",
)

source_statuses = Table(
    "source_statuses",
    metadata,
    Column("source", Text, primary_key=True),
    Column("node", Text, nullable=False, comment="the owner"),
    Column("epoch", BigInteger, nullable=False, comment="of the owner's lease"),
    Column("status", Text, nullable=False, comment="JSON"),
    Column("updated_at", DateTime(timezone=True), nullable=False),
    comment="The status of each source, as its owner published it last.",
)

source_windows = Table(
    "source_windows",
    metadata,
    Column("source", Text, primary_key=True),
    Column("began_at", DateTime(timezone=True), primary_key=True, comment="the full hour"),
    Column("rows", BigInteger, nullable=False),
    Column("published", BigInteger, nullable=False),
    Column("rejected", BigInteger, nullable=False),
    Column("skipped", BigInteger, nullable=False),
    comment="Counts since the source exists, as of the end of the hour: two rows differ by what happened between.",
)

# The PostgreSQL bus. Its statements are in shared/bus/postgres/; the revision that creates the tables explains them.

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

webhook_inboxes = Table(
    "webhook_inboxes",
    metadata,
    Column("source", Text, primary_key=True),
    Column("epoch", Uuid, nullable=False, server_default=_RANDOM, comment="tells this inbox from a later one"),
    Column("position", BigInteger, nullable=False, server_default=text("0"), comment="of the newest delivery"),
    Column("waiting_rows", BigInteger, nullable=False, server_default=text("0")),
    Column("waiting_bytes", BigInteger, nullable=False, server_default=text("0"), comment="of their bodies"),
    Column("ids", BigInteger, nullable=False, server_default=text("0"), comment="that are remembered"),
    comment="One row a source of webhooks. Who stores a delivery locks it, so that positions have no gaps.",
)

webhook_deliveries = Table(
    "webhook_deliveries",
    metadata,
    Column("source", Text, primary_key=True),
    Column("position", BigInteger, primary_key=True, autoincrement=False),
    Column("received_at", DateTime(timezone=True), nullable=False),
    Column("delivery_id", Text),
    Column("content_type", Text, nullable=False),
    Column("headers", Text, nullable=False, comment="those that the settings name, as JSON"),
    Column("body", LargeBinary, nullable=False),
    Column("size", Integer, nullable=False, comment="of the body in bytes"),
    comment="Deliveries that are not published yet.",
)

webhook_ids = Table(
    "webhook_ids",
    metadata,
    Column("source", Text, primary_key=True),
    Column("digest", LargeBinary, primary_key=True, comment="of the delivery's id"),
    Column("received_at", DateTime(timezone=True), nullable=False),
    Index(None, "source", "received_at"),
    comment="Deliveries that were stored, so that a repeated one is not published again.",
)
