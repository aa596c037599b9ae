"""Embedded servers: a PostgreSQL and a Kafka, each with its data in one folder and its port on the loopback.

For `make run`, `make run-kafka` and the tests. Synchronous: they start before the event loop and stop after it.
"""
