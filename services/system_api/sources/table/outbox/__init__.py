"""Reads a table to which applications add events, and removes the rows that are published.

The keys of a batch are part of its checkpoint until its rows are removed. So a crash between the two publishes nothing
twice: who opens the source next removes these rows first.
"""
