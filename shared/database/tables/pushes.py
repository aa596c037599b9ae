"""The tables of idempotency keys."""

from sqlalchemy import BigInteger, Boolean, Column, DateTime, Index, LargeBinary, Table, Text, func, text

from shared.database.tables.schema import metadata

push_writers = Table(
    "push_writers",
    metadata,
    Column("name", Text, primary_key=True, comment="of the writer on the bus, and of its group"),
    Column("node", Text, nullable=False, comment="holder of the lease node/<node>"),
    Column("node_epoch", BigInteger, nullable=False, comment="that lease's epoch when the writer was opened"),
    Column("committed", BigInteger, nullable=False, server_default=text("0"), comment="its last round on the bus"),
    Column("closed", Boolean, nullable=False, server_default=text("false"), comment="it commits nothing more"),
    Column("closed_at", DateTime(timezone=True)),
    comment="Writers of pushes with idempotency keys. Keys of a closed one are published, or void, for good.",
)

pushed_keys = Table(
    "pushed_keys",
    metadata,
    Column("digest", LargeBinary, primary_key=True, comment="SHA-256 of producer and key"),
    Column("fingerprint", LargeBinary, comment="SHA-256 of the request; null: any request with the key is the same"),
    Column("writer", Text, nullable=False),
    Column("round_number", BigInteger, nullable=False, comment="published if the writer has committed this round"),
    Column("claimed_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Index(None, "claimed_at"),
    comment="Idempotency keys of POST /entity.",
)
