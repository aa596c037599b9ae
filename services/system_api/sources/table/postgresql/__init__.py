"""Reads tables in PostgreSQL."""
