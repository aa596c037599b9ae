"""How the last connection of each registered client ended."""

import sqlalchemy as sa
from alembic import op

from shared.database.tables.schema import SCHEMA

revision = "012"
down_revision = "011"


def upgrade() -> None:
    for column in (
        sa.Column("ended_at", sa.DateTime(timezone=True), comment="when a connection of it ended last"),
        sa.Column("ended_code", sa.Integer, comment="its close code"),
        sa.Column("ended_reason", sa.Text, comment="the name of its close reason"),
        sa.Column("ended_after", sa.Double, comment="seconds that it had lasted"),
    ):
        op.add_column("consumers", column, schema=SCHEMA)


def downgrade() -> None:
    for name in ("ended_after", "ended_reason", "ended_code", "ended_at"):
        op.drop_column("consumers", name, schema=SCHEMA)
