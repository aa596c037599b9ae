"""Compares all rows of a small table with those of the last pass: inserts, updates and deletes.

`state` has what is known of each row, and what to save of that; `source` reads the table in passes.
"""
