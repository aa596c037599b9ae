"""How much each source has read and published in all, at the end of each hour."""

import sqlalchemy as sa
from alembic import op

from shared.database.tables.schema import SCHEMA

revision = "004"
down_revision = "003"


def upgrade() -> None:
    op.create_table(
        "source_windows",
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("began_at", sa.DateTime(timezone=True), nullable=False, comment="the full hour"),
        *(sa.Column(name, sa.BigInteger, nullable=False) for name in ("rows", "published", "rejected", "skipped")),
        sa.PrimaryKeyConstraint("source", "began_at", name="source_windows_pkey"),
        schema=SCHEMA,
        comment="Counts since the source exists, as of the end of the hour: two rows differ by what happened between.",
        postgresql_with={"fillfactor": 50},
    )


def downgrade() -> None:
    op.drop_table("source_windows", schema=SCHEMA)
