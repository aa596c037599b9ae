"""The tables of presence."""

from sqlalchemy import BigInteger, Boolean, Column, DateTime, Identity, Table, Text, Uuid, func

from shared.database.tables.schema import metadata

presence_log = Table(
    "presence_log",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("client_id", Text, nullable=False),
    Column("connection_id", Uuid, nullable=False),
    Column("kind", Text, nullable=False, comment="came or left"),
    Column("connected_at", DateTime(timezone=True), nullable=False),
    Column("at", DateTime(timezone=True), nullable=False, server_default=func.clock_timestamp()),
    comment="Connections that have come or left, and are still to be published.",
)

presence_noting = Table(
    "presence_noting",
    metadata,
    Column("only_row", Boolean, primary_key=True, comment="always true"),
    Column("noted_until", DateTime(timezone=True), nullable=False, comment="after that, triggers note nothing"),
    comment="Whether presence is published.",
)
