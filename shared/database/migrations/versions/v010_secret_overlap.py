"""Secrets of clients that stay valid for a while after they were replaced."""

import sqlalchemy as sa
from alembic import op

from shared.database.tables.schema import SCHEMA

revision = "010"
down_revision = "009"


def upgrade() -> None:
    # Replicas of the previous release read and write the other columns only.
    for column in (
        sa.Column("previous_secret_hash", sa.Text, comment="of the secret before this one"),
        sa.Column(
            "previous_secret_until",
            sa.DateTime(timezone=True),
            comment="until when the previous secret is valid as well",
        ),
    ):
        op.add_column("clients", column, schema=SCHEMA)
    op.create_index(
        "clients_previous_secret_until_idx",
        "clients",
        ["previous_secret_until"],
        schema=SCHEMA,
        postgresql_where=sa.text("previous_secret_until IS NOT NULL"),
    )


def downgrade() -> None:
    op.drop_index("clients_previous_secret_until_idx", "clients", schema=SCHEMA)
    op.drop_column("clients", "previous_secret_until", schema=SCHEMA)
    op.drop_column("clients", "previous_secret_hash", schema=SCHEMA)
