"""The tables of sources: what operators ask of them, and what they report."""

from sqlalchemy import BigInteger, Boolean, Column, DateTime, Table, Text, text

from shared.database.tables.schema import metadata

source_controls = Table(
    "source_controls",
    metadata,
    Column("source", Text, primary_key=True),
    Column("paused", Boolean, nullable=False, server_default=text("false")),
    Column("reason", Text, nullable=False, server_default=text("''")),
    Column("changed_by", Text, nullable=False, server_default=text("''"), comment="who paused or resumed it"),
    Column("changed_at", DateTime(timezone=True)),
    Column("polls", BigInteger, nullable=False, server_default=text("0"), comment="polls that were asked for"),
    Column("generation", BigInteger, nullable=False, server_default=text("0"), comment="grows with each request"),
    Column("command", Text, comment="of the newest request: rewind or snapshot"),
    Column("place", Text, comment="where to, as JSON"),
    Column("requested_by", Text),
    Column("requested_at", DateTime(timezone=True)),
    Column("done_generation", BigInteger, nullable=False, server_default=text("0")),
    Column("error", Text),
    Column("result", Text, comment="JSON"),
    Column("done_at", DateTime(timezone=True)),
    comment="What operators ask of sources. Whether a request was carried out is decided by the checkpoint.",
)

source_statuses = Table(
    "source_statuses",
    metadata,
    Column("source", Text, primary_key=True),
    Column("node", Text, nullable=False, comment="the owner"),
    Column("epoch", BigInteger, nullable=False, comment="of the owner's lease"),
    Column("status", Text, nullable=False, comment="JSON"),
    Column("updated_at", DateTime(timezone=True), nullable=False),
    comment="The status of each source, as its owner published it last.",
)

source_windows = Table(
    "source_windows",
    metadata,
    Column("source", Text, primary_key=True),
    Column("began_at", DateTime(timezone=True), primary_key=True, comment="the full hour"),
    Column("rows", BigInteger, nullable=False),
    Column("published", BigInteger, nullable=False),
    Column("rejected", BigInteger, nullable=False),
    Column("skipped", BigInteger, nullable=False),
    comment="Counts since the source exists, as of the end of the hour: two rows differ by what happened between.",
)
