"""The tickets of browsers that were used."""

import sqlalchemy as sa
from alembic import op

from shared.database.tables.schema import SCHEMA

revision = "006"
down_revision = "005"


def upgrade() -> None:
    op.create_table(
        "used_tickets",
        sa.Column("ticket_hash", sa.LargeBinary, nullable=False, comment="SHA-256 of the id of the ticket"),
        sa.Column("used_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
        sa.PrimaryKeyConstraint("ticket_hash", name="used_tickets_pkey"),
        schema=SCHEMA,
        comment="Tickets of the last minutes that were used: each can be used once.",
    )


def downgrade() -> None:
    op.drop_table("used_tickets", schema=SCHEMA)
