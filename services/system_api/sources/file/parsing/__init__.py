"""Parses the bytes of a file into events: lines, NDJSON and CSV."""
