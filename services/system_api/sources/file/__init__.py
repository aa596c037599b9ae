"""File sources: NDJSON and CSV, tailed while they grow or dropped into a folder as a whole."""
