"""One lease for sources, partitions of the PostgreSQL bus and nodes.

    async with leases.hold("source/orders") as lease:
        ...  # ours until lease.lost() returns

A lease is a row with an owner, an epoch that grows with each new owner, and an expiry by one clock, the store's. Its
owner renews it; when the owner dies, it expires and the next one takes it.
"""

from shared.lease.holding import Lease, Leases
from shared.lease.memory import MemoryLeaseStore
from shared.lease.postgres import CHANNEL, PostgresLeaseStore
from shared.lease.store import Granted, LeaseStore, Taken

__all__ = ["CHANNEL", "Granted", "Lease", "LeaseStore", "Leases", "MemoryLeaseStore", "PostgresLeaseStore", "Taken"]
