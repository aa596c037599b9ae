"""The table of leases."""

from sqlalchemy import BigInteger, Column, DateTime, Table, Text

from shared.database.tables.schema import metadata

leases = Table(
    "leases",
    metadata,
    Column("name", Text, primary_key=True),
    Column("owner", Text, nullable=False),
    Column("epoch", BigInteger, nullable=False, comment="grows with each new owner"),
    Column("expires_at", DateTime(timezone=True), nullable=False),
    comment="Exclusive rights of one replica: to run a source, to be a node or a member of a group.",
)
