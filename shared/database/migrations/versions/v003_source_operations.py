"""What operators ask of sources, and the status that the owner of each publishes."""

import sqlalchemy as sa
from alembic import op

from shared.database.tables.schema import SCHEMA

revision = "003"
down_revision = "002"

_INSTANT = sa.DateTime(timezone=True)
_EMPTY = sa.text("''")
_ZERO = sa.text("0")


def upgrade() -> None:
    op.create_table(
        "source_controls",
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("paused", sa.Boolean, nullable=False, server_default=sa.text("false")),
        sa.Column("reason", sa.Text, nullable=False, server_default=_EMPTY),
        sa.Column("changed_by", sa.Text, nullable=False, server_default=_EMPTY, comment="who paused or resumed it"),
        sa.Column("changed_at", _INSTANT),
        sa.Column("polls", sa.BigInteger, nullable=False, server_default=_ZERO, comment="polls that were asked for"),
        sa.Column("generation", sa.BigInteger, nullable=False, server_default=_ZERO, comment="grows with each request"),
        sa.Column("command", sa.Text, comment="of the newest request: rewind or snapshot"),
        sa.Column("place", sa.Text, comment="where to, as JSON"),
        sa.Column("requested_by", sa.Text),
        sa.Column("requested_at", _INSTANT),
        sa.Column("done_generation", sa.BigInteger, nullable=False, server_default=_ZERO),
        sa.Column("error", sa.Text),
        sa.Column("result", sa.Text, comment="JSON"),
        sa.Column("done_at", _INSTANT),
        sa.PrimaryKeyConstraint("source", name="source_controls_pkey"),
        schema=SCHEMA,
        comment="What operators ask of sources. Whether a request was carried out is decided by the checkpoint.",
    )
    op.create_table(
        "source_statuses",
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("node", sa.Text, nullable=False, comment="the owner"),
        sa.Column("epoch", sa.BigInteger, nullable=False, comment="of the owner's lease"),
        sa.Column("status", sa.Text, nullable=False, comment="JSON"),
        sa.Column("updated_at", _INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("source", name="source_statuses_pkey"),
        schema=SCHEMA,
        comment="The status of each source, as its owner published it last.",
        # Updated every few seconds: with room on the page, the index needs no update.
        postgresql_with={"fillfactor": 50},
    )


def downgrade() -> None:
    for table in ("source_statuses", "source_controls"):
        op.drop_table(table, schema=SCHEMA)
