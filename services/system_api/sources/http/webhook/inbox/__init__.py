"""The inbox of webhooks, which all replicas share: in PostgreSQL, and in memory for unit tests."""
