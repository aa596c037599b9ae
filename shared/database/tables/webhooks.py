"""The tables of received webhooks."""

from sqlalchemy import BigInteger, Column, DateTime, Index, Integer, LargeBinary, Table, Text, Uuid, func, text

from shared.database.tables.schema import metadata

webhook_inboxes = Table(
    "webhook_inboxes",
    metadata,
    Column("source", Text, primary_key=True),
    Column(
        "epoch",
        Uuid,
        nullable=False,
        server_default=func.gen_random_uuid(),
        comment="tells this inbox from a later one",
    ),
    Column("position", BigInteger, nullable=False, server_default=text("0"), comment="of the newest delivery"),
    Column("waiting_rows", BigInteger, nullable=False, server_default=text("0")),
    Column("waiting_bytes", BigInteger, nullable=False, server_default=text("0"), comment="of their bodies"),
    Column("ids", BigInteger, nullable=False, server_default=text("0"), comment="that are remembered"),
    comment="One row a source of webhooks. Who stores a delivery locks it, so that positions have no gaps.",
)

webhook_deliveries = Table(
    "webhook_deliveries",
    metadata,
    Column("source", Text, primary_key=True),
    Column("position", BigInteger, primary_key=True, autoincrement=False),
    Column("received_at", DateTime(timezone=True), nullable=False),
    Column("delivery_id", Text),
    Column("content_type", Text, nullable=False),
    Column("headers", Text, nullable=False, comment="those that the settings name, as JSON"),
    Column("body", LargeBinary, nullable=False),
    Column("size", Integer, nullable=False, comment="of the body in bytes"),
    comment="Deliveries that are not published yet.",
)

webhook_ids = Table(
    "webhook_ids",
    metadata,
    Column("source", Text, primary_key=True),
    Column("digest", LargeBinary, primary_key=True, comment="of the delivery's id"),
    Column("received_at", DateTime(timezone=True), nullable=False),
    Index(None, "source", "received_at"),
    comment="Deliveries that were stored, so that a repeated one is not published again.",
)
