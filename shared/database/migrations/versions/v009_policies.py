"""What happens when a client connects that has a connection already."""

import sqlalchemy as sa
from alembic import op

from shared.database.tables.schema import SCHEMA

revision = "009"
down_revision = "008"


def upgrade() -> None:
    op.add_column(
        "clients",
        sa.Column(
            "policy", sa.Text, nullable=False, server_default=sa.text("'probe'"), comment="of a second connection"
        ),
        schema=SCHEMA,
    )


def downgrade() -> None:
    op.drop_column("clients", "policy", schema=SCHEMA)
