"""The tables, as SQLAlchemy Core knows them. What makes them is `migrations`; a test holds the two together.

Instants are `timestamptz` and always the database's own: replicas agree on one clock.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    ForeignKey,
    LargeBinary,
    MetaData,
    Table,
    Text,
    Uuid,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY

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
_NO = text("false")

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
    comment="Applications that may register.",
)

consumers = Table(
    "consumers",
    metadata,
    Column("client_id", Text, ForeignKey(clients.c.client_id, ondelete="CASCADE"), primary_key=True),
    Column("token_hash", LargeBinary, nullable=False, unique=True, comment="SHA-256 of the id in the token"),
    Column("registered_at", DateTime(timezone=True), nullable=False, server_default=_NOW),
    Column("last_seen_at", DateTime(timezone=True), nullable=False, server_default=_NOW, comment="last connected"),
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
    comment="Rights of one replica: to drive a source or a partition, to be a node.",
)

signing_keys = Table(
    "signing_keys",
    metadata,
    Column("key_id", Text, primary_key=True, comment="what tokens name it by"),
    Column("secret", LargeBinary, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=_NOW),
    comment="What signs tokens, where the settings name no key. Useless alone: of a token, only a hash is kept.",
)
