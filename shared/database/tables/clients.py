"""The tables of clients, and of what admits them: their registrations and tokens, signing keys and tickets."""

from sqlalchemy import (
    Boolean,
    Column,
    DateTime,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    Table,
    Text,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from shared.database.tables.schema import metadata

clients = Table(
    "clients",
    metadata,
    Column("client_id", Text, primary_key=True),
    Column("secret_hash", Text, nullable=False, comment="prefixed by the scheme that made it"),
    Column("channels", ARRAY(Text), nullable=False, server_default=text("'{}'"), comment="patterns of channels"),
    Column("may_send", Boolean, nullable=False, server_default=text("false")),
    Column("loopback_only", Boolean, nullable=False, server_default=text("false")),
    Column("disabled", Boolean, nullable=False, server_default=text("false")),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
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
    Column("registered_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column(
        "last_seen_at", DateTime(timezone=True), nullable=False, server_default=func.now(), comment="last connected"
    ),
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

signing_keys = Table(
    "signing_keys",
    metadata,
    Column("key_id", Text, primary_key=True, comment="id of the key in tokens"),
    Column("secret", LargeBinary, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    comment="Keys that sign tokens if the settings have none. Useless alone: of a token, only a hash is stored.",
)

used_tickets = Table(
    "used_tickets",
    metadata,
    Column("ticket_hash", LargeBinary, primary_key=True, comment="SHA-256 of the id of the ticket"),
    Column("used_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Index(None, "used_at"),
    comment="Tickets of the last minutes that were used: each can be used once.",
)
