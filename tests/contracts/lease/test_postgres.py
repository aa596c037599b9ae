"""Leases in PostgreSQL keep the guarantees of every store."""

from contextlib import AbstractAsyncContextManager

import pytest

from shared.database.options import DatabaseOptions
from shared.lease import LeaseStore, PostgresLeaseStore
from tests.contracts.lease.suite import LeaseStoreContract


class PostgresDeployment:
    """One database; each connection is that of a replica."""

    def __init__(self, options: DatabaseOptions) -> None:
        self._options = options

    def connect(self) -> AbstractAsyncContextManager[LeaseStore]:
        return PostgresLeaseStore.opened(self._options)


@pytest.mark.every_postgres
class TestPostgresLeases(LeaseStoreContract):
    @pytest.fixture
    async def deployment(self, migrated_database: DatabaseOptions) -> PostgresDeployment:
        return PostgresDeployment(migrated_database)
