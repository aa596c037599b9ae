"""Parses the bytes of a file into events: NDJSON and CSV."""
