"""Several tokens of clients that may have several connections.

`token_hash` keeps the newest one, as replicas of the previous release expect. They do not know the others, and leave
the column as it is when they register a client: so its tokens count only while the newest one is among them. The times
are in seconds since 1970. All of it is in the row of the consumer, which a claim locks: PostgreSQL reads a locked row
again after the wait, and no other one.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

from shared.database.tables.schema import SCHEMA

revision = "016"
down_revision = "015"


def upgrade() -> None:
    op.add_column(
        "consumers",
        sa.Column("tokens", JSONB, comment="of clients with several: hash in hex to time of the last use"),
        schema=SCHEMA,
    )


def downgrade() -> None:
    op.drop_column("consumers", "tokens", schema=SCHEMA)
