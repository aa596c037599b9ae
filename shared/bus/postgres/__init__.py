"""The bus on PostgreSQL: topics, partitions, offsets, groups and transactions as tables.

How a transaction is written; no client holds a lock while it waits for anything but the database:

    plan       sort the records into partitions                              no I/O
    store      COPY them under the number of the transaction                 no locks; many writers at the same time
    commit     check the writer, lock the partitions, give the records       one statement of the server;
               their offsets, store the committed offsets of the group       commits are in the order of the writer

A reader joins the batches that were committed (`bus_batches`) with their records, for all its partitions in one query.
A commit wakes the readers of the same process directly and all others by NOTIFY. It is sent after the commit and not in
it, because PostgreSQL lets only one notifying transaction commit at a time.
"""

from shared.bus.postgres.bus import PostgresBus, connect_postgres
from shared.bus.postgres.options import PostgresBusOptions

__all__ = ["PostgresBus", "PostgresBusOptions", "connect_postgres"]
