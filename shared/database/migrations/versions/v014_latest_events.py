"""The latest event of each subject, from which snapshots are read."""

import sqlalchemy as sa
from alembic import op

from shared.database.tables.schema import SCHEMA

revision = "014"
down_revision = "013"


def upgrade() -> None:
    op.create_table(
        "latest_view",
        sa.Column("only_row", sa.Boolean, nullable=False, comment="always true"),
        sa.Column("epoch", sa.Text, nullable=False, comment="of the publish topic"),
        sa.Column("settings", sa.Text, nullable=False, comment="digest of the settings that decide what is kept"),
        sa.Column("generation", sa.BigInteger, nullable=False, comment="offsets of one generation can be compared"),
        sa.Column("version", sa.BigInteger, nullable=False, comment="grows whenever positions are set back"),
        sa.PrimaryKeyConstraint("only_row", name="latest_view_pkey"),
        schema=SCHEMA,
        comment="Which log the latest events come from.",
    )
    op.create_table(
        "latest_positions",
        sa.Column("partition", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("position", sa.BigInteger, nullable=False, comment="offset of the next record to copy"),
        sa.Column("copied_ms", sa.BigInteger, nullable=False, comment="time of the newest record that was copied"),
        sa.Column("missed", sa.BigInteger, nullable=False, comment="offsets that were removed before they were copied"),
        sa.PrimaryKeyConstraint("partition", name="latest_positions_pkey"),
        schema=SCHEMA,
        comment="How far each partition of the publish topic is copied.",
    )
    op.create_table(
        "latest_events",
        sa.Column("channel", sa.Text(collation="C"), nullable=False),
        sa.Column("digest", sa.LargeBinary, nullable=False, comment="of the source and the subject"),
        sa.Column("generation", sa.BigInteger, nullable=False),
        sa.Column("partition", sa.Integer, nullable=False),
        sa.Column("offset", sa.BigInteger, nullable=False),
        sa.Column("size", sa.Integer, nullable=False, comment="bytes of the event"),
        sa.Column("event", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("channel", "digest", name="latest_events_pkey"),
        schema=SCHEMA,
        comment="The latest event of each subject.",
    )
    # Most writes replace an event: free room on its page saves a new entry in the index.
    op.execute(f"ALTER TABLE {SCHEMA}.latest_events SET (fillfactor = 70)")


def downgrade() -> None:
    for name in ("latest_events", "latest_positions", "latest_view"):
        op.drop_table(name, schema=SCHEMA)
