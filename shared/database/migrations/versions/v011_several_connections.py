"""Several connections of one client.

The table `connections` keeps one row for each client, its first connection, as replicas of the previous release expect
and enforce. Further ones are in a table of their own.
"""

import sqlalchemy as sa
from alembic import op

from shared.database.tables.schema import SCHEMA

revision = "011"
down_revision = "010"


def upgrade() -> None:
    op.add_column(
        "clients",
        sa.Column("max_connections", sa.Integer, nullable=False, server_default=sa.text("1"), comment="at a time"),
        schema=SCHEMA,
    )
    op.create_table(
        "extra_connections",
        sa.Column("client_id", sa.Text, nullable=False),
        sa.Column("slot", sa.Integer, nullable=False, comment="2 or more; the first one is in connections"),
        sa.Column("connection_id", sa.Uuid, nullable=False),
        sa.Column("node", sa.Text, nullable=False, comment="holder of the lease node/<node>"),
        sa.Column(
            "node_epoch",
            sa.BigInteger,
            nullable=False,
            comment="that lease's epoch when the connection was claimed",
        ),
        sa.Column("epoch", sa.BigInteger, nullable=False, comment="grows with each claim of this slot"),
        sa.Column("remote", sa.Text, nullable=False),
        sa.Column("connected_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
        sa.Column("token_hash", sa.LargeBinary, comment="of the token that it was claimed with"),
        sa.PrimaryKeyConstraint("client_id", "slot", name="extra_connections_pkey"),
        sa.ForeignKeyConstraint(
            ["client_id"],
            [f"{SCHEMA}.consumers.client_id"],
            name="extra_connections_client_id_fkey",
            ondelete="CASCADE",
        ),
        schema=SCHEMA,
        comment="The connections beyond the first one of clients that may have several.",
    )


def downgrade() -> None:
    op.drop_table("extra_connections", schema=SCHEMA)
    op.drop_column("clients", "max_connections", schema=SCHEMA)
