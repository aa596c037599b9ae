"""Presence: triggers note each connection that comes or leaves, while a replica publishes what they note."""

import sqlalchemy as sa
from alembic import op

from shared.database.tables.schema import SCHEMA

revision = "013"
down_revision = "012"

_INSTANT = sa.DateTime(timezone=True)
_NOTE = """
CREATE FUNCTION trelay.presence_note() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM trelay.presence_noting WHERE noted_until > now()) THEN
        RETURN NULL;
    END IF;
    IF TG_OP = 'UPDATE' THEN
        IF NEW.connection_id = OLD.connection_id THEN
            RETURN NULL;
        END IF;
    END IF;
    IF TG_OP <> 'INSERT' THEN
        INSERT INTO trelay.presence_log (client_id, connection_id, kind, connected_at)
        VALUES (OLD.client_id, OLD.connection_id, 'left', OLD.connected_at);
    END IF;
    IF TG_OP <> 'DELETE' THEN
        INSERT INTO trelay.presence_log (client_id, connection_id, kind, connected_at)
        VALUES (NEW.client_id, NEW.connection_id, 'came', NEW.connected_at);
    END IF;
    RETURN NULL;
END
$$
"""
_TABLES = ("connections", "extra_connections")


def upgrade() -> None:
    op.create_table(
        "presence_log",
        sa.Column("id", sa.BigInteger, sa.Identity(always=True), nullable=False),
        sa.Column("client_id", sa.Text, nullable=False),
        sa.Column("connection_id", sa.Uuid, nullable=False),
        sa.Column("kind", sa.Text, nullable=False, comment="came or left"),
        sa.Column("connected_at", _INSTANT, nullable=False),
        sa.Column("at", _INSTANT, nullable=False, server_default=sa.func.clock_timestamp()),
        sa.PrimaryKeyConstraint("id", name="presence_log_pkey"),
        schema=SCHEMA,
        comment="Connections that have come or left, and are still to be published.",
    )
    op.create_table(
        "presence_noting",
        sa.Column("only_row", sa.Boolean, nullable=False, comment="always true"),
        sa.Column("noted_until", _INSTANT, nullable=False, comment="after that, triggers note nothing"),
        sa.PrimaryKeyConstraint("only_row", name="presence_noting_pkey"),
        schema=SCHEMA,
        comment="Whether presence is published.",
    )
    op.execute(_NOTE)
    for table in _TABLES:
        op.execute(
            f"CREATE TRIGGER presence AFTER INSERT OR UPDATE OR DELETE ON {SCHEMA}.{table} "
            f"FOR EACH ROW EXECUTE FUNCTION {SCHEMA}.presence_note()"
        )


def downgrade() -> None:
    for table in _TABLES:
        op.execute(f"DROP TRIGGER presence ON {SCHEMA}.{table}")
    op.execute(f"DROP FUNCTION {SCHEMA}.presence_note()")
    op.drop_table("presence_noting", schema=SCHEMA)
    op.drop_table("presence_log", schema=SCHEMA)
