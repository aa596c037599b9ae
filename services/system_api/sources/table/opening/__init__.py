"""Opens a table source at a checkpoint: connects its options, the reader of its database and what it remembers."""

from services.system_api.sources.table.opening.kind import TableSourceKind, table_source

__all__ = ["TableSourceKind", "table_source"]
