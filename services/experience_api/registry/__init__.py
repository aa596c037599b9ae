"""Stores clients, registered consumers and their connections: in PostgreSQL, and in memory for unit tests.

`protocol` states the guarantees of both; `notices` are the messages of replicas about connections.
"""
