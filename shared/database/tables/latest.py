"""The tables of the latest events."""

from sqlalchemy import BigInteger, Boolean, Column, Integer, LargeBinary, Table, Text

from shared.database.tables.schema import metadata

latest_view = Table(
    "latest_view",
    metadata,
    Column("only_row", Boolean, primary_key=True, comment="always true"),
    Column("epoch", Text, nullable=False, comment="of the publish topic"),
    Column("settings", Text, nullable=False, comment="digest of the settings that decide what is kept"),
    Column("generation", BigInteger, nullable=False, comment="offsets of one generation can be compared"),
    Column("version", BigInteger, nullable=False, comment="grows whenever positions are set back"),
    comment="Which log the latest events come from.",
)

latest_positions = Table(
    "latest_positions",
    metadata,
    Column("partition", Integer, primary_key=True, autoincrement=False),
    Column("position", BigInteger, nullable=False, comment="offset of the next record to copy"),
    Column("copied_ms", BigInteger, nullable=False, comment="time of the newest record that was copied"),
    Column("missed", BigInteger, nullable=False, comment="offsets that were removed before they were copied"),
    comment="How far each partition of the publish topic is copied.",
)

latest_events = Table(
    "latest_events",
    metadata,
    Column("channel", Text(collation="C"), primary_key=True),
    Column("digest", LargeBinary, primary_key=True, comment="of the source and the subject"),
    Column("generation", BigInteger, nullable=False),
    Column("partition", Integer, nullable=False),
    Column("offset", BigInteger, nullable=False),
    Column("size", Integer, nullable=False, comment="bytes of the event"),
    Column("event", LargeBinary, nullable=False),
    comment="The latest event of each subject.",
)
