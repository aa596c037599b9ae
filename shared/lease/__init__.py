"""Leases: exclusive rights of one replica, for sources, nodes and members of groups.

    async with leases.hold("source/orders") as lease:
        ...  # held until lease.lost() returns

A lease is a row with an owner, an epoch that grows with each new owner, and an expiry by the clock of the store. Its
owner renews it. When the owner dies, the lease expires and another replica takes it.
"""

from shared.lease.holding import Lease, Leases
from shared.lease.memory import MemoryLeaseStore
from shared.lease.postgres import CHANNEL, PostgresLeaseStore
from shared.lease.store import Granted, Held, LeaseStore, Taken

__all__ = [
    "CHANNEL",
    "Granted",
    "Held",
    "Lease",
    "LeaseStore",
    "Leases",
    "MemoryLeaseStore",
    "PostgresLeaseStore",
    "Taken",
]
