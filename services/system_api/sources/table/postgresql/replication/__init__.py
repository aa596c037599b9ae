"""Reads the changes of a table from PostgreSQL's write-ahead log, through a logical replication slot.

`slot` has the statements about the slot and its publication, `cursor` reads its messages, `pgoutput` parses them, and
`transactions` makes changes of them, each with its place in the log. `rendering` makes the JSON of rows, `snapshot`
reads the rows that are there between the changes, and `source` makes events and checkpoints.
"""
