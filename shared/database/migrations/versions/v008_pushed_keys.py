"""The idempotency keys of `POST /entity`, and the writers that publish what they guard."""

import sqlalchemy as sa
from alembic import op

from shared.database.tables.schema import SCHEMA

revision = "008"
down_revision = "007"

_INSTANT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "push_writers",
        sa.Column("name", sa.Text, nullable=False, comment="of the writer on the bus, and of its group"),
        sa.Column("node", sa.Text, nullable=False, comment="holder of the lease node/<node>"),
        sa.Column(
            "node_epoch",
            sa.BigInteger,
            nullable=False,
            comment="that lease's epoch when the writer was opened",
        ),
        sa.Column(
            "committed",
            sa.BigInteger,
            nullable=False,
            server_default=sa.text("0"),
            comment="its last round on the bus",
        ),
        sa.Column(
            "closed",
            sa.Boolean,
            nullable=False,
            server_default=sa.text("false"),
            comment="it commits nothing more",
        ),
        sa.Column("closed_at", _INSTANT),
        sa.PrimaryKeyConstraint("name", name="push_writers_pkey"),
        schema=SCHEMA,
        comment="Writers of pushes with idempotency keys. Keys of a closed one are published, or void, for good.",
        # Updated with every round: with room on the page, the index needs no update.
        postgresql_with={"fillfactor": 50},
    )
    op.create_table(
        "pushed_keys",
        sa.Column("digest", sa.LargeBinary, nullable=False, comment="SHA-256 of producer and key"),
        sa.Column(
            "fingerprint",
            sa.LargeBinary,
            comment="SHA-256 of the request; null: any request with the key is the same",
        ),
        sa.Column("writer", sa.Text, nullable=False),
        sa.Column(
            "round_number",
            sa.BigInteger,
            nullable=False,
            comment="published if the writer has committed this round",
        ),
        sa.Column("claimed_at", _INSTANT, nullable=False, server_default=sa.func.now()),
        sa.PrimaryKeyConstraint("digest", name="pushed_keys_pkey"),
        schema=SCHEMA,
        comment="Idempotency keys of POST /entity.",
    )
    op.create_index("pushed_keys_claimed_at_idx", "pushed_keys", ["claimed_at"], schema=SCHEMA)


def downgrade() -> None:
    for table in ("pushed_keys", "push_writers"):
        op.drop_table(table, schema=SCHEMA)
