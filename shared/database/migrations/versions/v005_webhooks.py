"""What senders of webhooks delivered, until it is published, and the ids by which repeats are recognised."""

import sqlalchemy as sa
from alembic import op

from shared.database.tables.schema import SCHEMA

revision = "005"
down_revision = "004"

_INSTANT = sa.DateTime(timezone=True)
_ZERO = sa.text("0")


def upgrade() -> None:
    op.create_table(
        "webhook_inboxes",
        sa.Column("source", sa.Text, nullable=False),
        sa.Column(
            "epoch",
            sa.Uuid,
            nullable=False,
            server_default=sa.func.gen_random_uuid(),
            comment="tells this inbox from a later one",
        ),
        sa.Column("position", sa.BigInteger, nullable=False, server_default=_ZERO, comment="of the newest delivery"),
        sa.Column("waiting_rows", sa.BigInteger, nullable=False, server_default=_ZERO),
        sa.Column("waiting_bytes", sa.BigInteger, nullable=False, server_default=_ZERO, comment="of their bodies"),
        sa.Column("ids", sa.BigInteger, nullable=False, server_default=_ZERO, comment="that are remembered"),
        sa.PrimaryKeyConstraint("source", name="webhook_inboxes_pkey"),
        schema=SCHEMA,
        comment="One row a source of webhooks. Who stores a delivery locks it, so that positions have no gaps.",
        # Updated with every delivery: with room on the page, the index needs no update.
        postgresql_with={"fillfactor": 50},
    )
    op.create_table(
        "webhook_deliveries",
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("position", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("received_at", _INSTANT, nullable=False),
        sa.Column("delivery_id", sa.Text),
        sa.Column("content_type", sa.Text, nullable=False),
        sa.Column("headers", sa.Text, nullable=False, comment="those that the settings name, as JSON"),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.Column("size", sa.Integer, nullable=False, comment="of the body in bytes"),
        sa.PrimaryKeyConstraint("source", "position", name="webhook_deliveries_pkey"),
        schema=SCHEMA,
        comment="Deliveries that are not published yet.",
    )
    op.create_table(
        "webhook_ids",
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("digest", sa.LargeBinary, nullable=False, comment="of the delivery's id"),
        sa.Column("received_at", _INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("source", "digest", name="webhook_ids_pkey"),
        schema=SCHEMA,
        comment="Deliveries that were stored, so that a repeated one is not published again.",
    )
    op.create_index("webhook_ids_source_received_at_idx", "webhook_ids", ["source", "received_at"], schema=SCHEMA)


def downgrade() -> None:
    for table in ("webhook_ids", "webhook_deliveries", "webhook_inboxes"):
        op.drop_table(table, schema=SCHEMA)
