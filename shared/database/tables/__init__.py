"""The tables for SQLAlchemy Core. `migrations` creates them; a test compares the two.

Times are `timestamptz` and always from the clock of the database, so all replicas use one clock.
"""
