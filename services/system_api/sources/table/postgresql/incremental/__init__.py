"""Reads a table in PostgreSQL in the order of its keys or times, and tracks which rows are final."""
