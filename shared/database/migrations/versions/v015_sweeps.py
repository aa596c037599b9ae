"""Indexes for what is deleted after its time, so that no sweep reads the whole table."""

import sqlalchemy as sa
from alembic import op

from shared.database.tables.schema import SCHEMA

revision = "015"
down_revision = "014"


def upgrade() -> None:
    op.create_index("used_tickets_used_at_idx", "used_tickets", ["used_at"], schema=SCHEMA)
    op.create_index(
        "bus_latest_written_ms_idx",
        "bus_latest",
        ["written_ms"],
        schema=SCHEMA,
        postgresql_where=sa.text("value IS NULL"),
    )


def downgrade() -> None:
    op.drop_index("bus_latest_written_ms_idx", "bus_latest", schema=SCHEMA)
    op.drop_index("used_tickets_used_at_idx", "used_tickets", schema=SCHEMA)
