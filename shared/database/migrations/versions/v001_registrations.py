"""Clients, consumers, connections, leases and signing keys."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY

from shared.database.tables.schema import SCHEMA

revision = "001"
down_revision = None

_INSTANT = sa.DateTime(timezone=True)
_NOW = sa.func.now()
_NO = sa.text("false")


def upgrade() -> None:
    op.create_table(
        "clients",
        sa.Column("client_id", sa.Text, nullable=False),
        sa.Column("secret_hash", sa.Text, nullable=False, comment="prefixed by the scheme that made it"),
        sa.Column(
            "channels", ARRAY(sa.Text), nullable=False, server_default=sa.text("'{}'"), comment="patterns of channels"
        ),
        sa.Column("may_send", sa.Boolean, nullable=False, server_default=_NO),
        sa.Column("loopback_only", sa.Boolean, nullable=False, server_default=_NO),
        sa.Column("disabled", sa.Boolean, nullable=False, server_default=_NO),
        sa.Column("created_at", _INSTANT, nullable=False, server_default=_NOW),
        sa.Column("note", sa.Text, nullable=False, server_default=sa.text("''")),
        sa.PrimaryKeyConstraint("client_id", name="clients_pkey"),
        schema=SCHEMA,
        comment="Applications that may register.",
    )
    op.create_table(
        "consumers",
        sa.Column("client_id", sa.Text, nullable=False),
        sa.Column("token_hash", sa.LargeBinary, nullable=False, comment="SHA-256 of the id in the token"),
        sa.Column("registered_at", _INSTANT, nullable=False, server_default=_NOW),
        sa.Column("last_seen_at", _INSTANT, nullable=False, server_default=_NOW, comment="last connected"),
        sa.PrimaryKeyConstraint("client_id", name="consumers_pkey"),
        sa.ForeignKeyConstraint(
            ["client_id"], [f"{SCHEMA}.clients.client_id"], name="consumers_client_id_fkey", ondelete="CASCADE"
        ),
        sa.UniqueConstraint("token_hash", name="consumers_token_hash_key"),
        schema=SCHEMA,
        comment="Registered clients: each has a token and may connect.",
    )
    op.create_table(
        "connections",
        sa.Column("client_id", sa.Text, nullable=False),
        sa.Column("connection_id", sa.Uuid, nullable=False),
        sa.Column("node", sa.Text, nullable=False, comment="holder of the lease node/<node>"),
        sa.Column(
            "node_epoch",
            sa.BigInteger,
            nullable=False,
            comment="that lease's epoch when the connection was claimed",
        ),
        sa.Column("epoch", sa.BigInteger, nullable=False, comment="grows with each claim of this client"),
        sa.Column("remote", sa.Text, nullable=False),
        sa.Column("connected_at", _INSTANT, nullable=False, server_default=_NOW),
        sa.PrimaryKeyConstraint("client_id", name="connections_pkey"),
        sa.ForeignKeyConstraint(
            ["client_id"], [f"{SCHEMA}.consumers.client_id"], name="connections_client_id_fkey", ondelete="CASCADE"
        ),
        schema=SCHEMA,
        comment="The one connection of each consumer.",
    )
    op.create_table(
        "leases",
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("epoch", sa.BigInteger, nullable=False, comment="grows with each new owner"),
        sa.Column("expires_at", _INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("name", name="leases_pkey"),
        schema=SCHEMA,
        comment="Exclusive rights of one replica: to run a source, to be a node or a member of a group.",
        # Renewed every two seconds: with room on the page, the index needs no update.
        postgresql_with={"fillfactor": 50},
    )
    op.create_table(
        "signing_keys",
        sa.Column("key_id", sa.Text, nullable=False, comment="id of the key in tokens"),
        sa.Column("secret", sa.LargeBinary, nullable=False),
        sa.Column("created_at", _INSTANT, nullable=False, server_default=_NOW),
        sa.PrimaryKeyConstraint("key_id", name="signing_keys_pkey"),
        schema=SCHEMA,
        comment="Keys that sign tokens if the settings have none. Useless alone: of a token, only a hash is stored.",
    )


def downgrade() -> None:
    for table in ("signing_keys", "leases", "connections", "consumers", "clients"):
        op.drop_table(table, schema=SCHEMA)
