"""The bus on PostgreSQL: topics, partitions, offsets, groups and transactions as tables.

How a transaction is written, and why no client ever holds a lock while it makes up its mind:

    plan       sort its records into partitions                               no I/O
    store      COPY them under the transaction's own number                   no locks; many writers at once
    publish    check the writer, lock the partitions, give the records        one statement of the server;
               their offsets, note what the group has done with               commits come in the writer's order

A reader joins the runs of records that were published (`bus_batches`) with the records themselves, all its partitions
in one query. A commit wakes readers of the same process directly and all others by NOTIFY, which is sent after the
commit and not in it: PostgreSQL lets only one notifying transaction commit at a time.
"""

from shared.bus.postgres.bus import PostgresBus, connect_postgres
from shared.bus.postgres.options import PostgresBusOptions

__all__ = ["PostgresBus", "PostgresBusOptions", "connect_postgres"]
