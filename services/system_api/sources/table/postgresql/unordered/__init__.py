"""Reads tables in PostgreSQL whose rows have no order: to compare all of them, or as an outbox."""
