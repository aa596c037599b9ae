"""Notices to the holders of connections, and tokens that stay valid for a while after they were replaced."""

import sqlalchemy as sa
from alembic import op

from shared.database.tables.schema import SCHEMA

revision = "007"
down_revision = "006"


def upgrade() -> None:
    op.create_table(
        "connection_notices",
        sa.Column("notice_id", sa.BigInteger, sa.Identity(always=True), nullable=False),
        sa.Column(
            "node", sa.Text, nullable=False, comment="the replica that holds the connection, and deletes the row"
        ),
        sa.Column("notice", sa.Text, nullable=False, comment="as it was sent with NOTIFY"),
        sa.Column("written_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
        sa.PrimaryKeyConstraint("notice_id", name="connection_notices_pkey"),
        schema=SCHEMA,
        comment="What replicas have to do with connections, for those that miss the notification.",
    )
    for table, column in (
        ("consumers", sa.Column("previous_token_hash", sa.LargeBinary, comment="of the token before this one")),
        (
            "consumers",
            sa.Column(
                "previous_until",
                sa.DateTime(timezone=True),
                comment="until when the previous token is valid as well",
            ),
        ),
        ("connections", sa.Column("token_hash", sa.LargeBinary, comment="of the token that it was claimed with")),
    ):
        op.add_column(table, column, schema=SCHEMA)
    op.create_index(
        "consumers_previous_until_idx",
        "consumers",
        ["previous_until"],
        schema=SCHEMA,
        postgresql_where=sa.text("previous_until IS NOT NULL"),
    )


def downgrade() -> None:
    op.drop_index("consumers_previous_until_idx", "consumers", schema=SCHEMA)
    op.drop_column("connections", "token_hash", schema=SCHEMA)
    op.drop_column("consumers", "previous_until", schema=SCHEMA)
    op.drop_column("consumers", "previous_token_hash", schema=SCHEMA)
    op.drop_table("connection_notices", schema=SCHEMA)
