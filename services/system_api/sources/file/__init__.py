"""Files as sources: NDJSON and CSV, tailed as they grow or dropped whole into a folder."""
