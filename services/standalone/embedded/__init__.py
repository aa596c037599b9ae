"""Servers of our own on one machine: a PostgreSQL and a Kafka that live in a folder and on the loopback.

For `make run`, `make run-kafka` and the tests. Synchronous: they start before an event loop does, and stop after it.
"""
