"""The tables of connections, and of what replicas have to do with them."""

from sqlalchemy import BigInteger, Column, DateTime, ForeignKey, Identity, Integer, LargeBinary, Table, Text, Uuid, func

from shared.database.tables.clients import consumers
from shared.database.tables.schema import metadata

connections = Table(
    "connections",
    metadata,
    Column("client_id", Text, ForeignKey(consumers.c.client_id, ondelete="CASCADE"), primary_key=True),
    Column("connection_id", Uuid, nullable=False),
    Column("node", Text, nullable=False, comment="holder of the lease node/<node>"),
    Column("node_epoch", BigInteger, nullable=False, comment="that lease's epoch when the connection was claimed"),
    Column("epoch", BigInteger, nullable=False, comment="grows with each claim of this client"),
    Column("remote", Text, nullable=False),
    Column("connected_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("token_hash", LargeBinary, comment="of the token that it was claimed with"),
    # Live exactly while its node's lease is, under the same epoch: a node renews one row, not one a connection.
    comment="The one connection of each consumer.",
)

extra_connections = Table(
    "extra_connections",
    metadata,
    Column("client_id", Text, ForeignKey(consumers.c.client_id, ondelete="CASCADE"), primary_key=True),
    Column(
        "slot",
        Integer,
        primary_key=True,
        autoincrement=False,
        comment="2 or more; the first one is in connections",
    ),
    Column("connection_id", Uuid, nullable=False),
    Column("node", Text, nullable=False, comment="holder of the lease node/<node>"),
    Column("node_epoch", BigInteger, nullable=False, comment="that lease's epoch when the connection was claimed"),
    Column("epoch", BigInteger, nullable=False, comment="grows with each claim of this slot"),
    Column("remote", Text, nullable=False),
    Column("connected_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("token_hash", LargeBinary, comment="of the token that it was claimed with"),
    comment="The connections beyond the first one of clients that may have several.",
)

connection_notices = Table(
    "connection_notices",
    metadata,
    Column("notice_id", BigInteger, Identity(always=True), primary_key=True),
    Column("node", Text, nullable=False, comment="the replica that holds the connection, and deletes the row"),
    Column("notice", Text, nullable=False, comment="as it was sent with NOTIFY"),
    Column("written_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    comment="What replicas have to do with connections, for those that miss the notification.",
)
