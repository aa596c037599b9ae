"""Operations in PostgreSQL keep the guarantees of every store."""

from contextlib import AbstractAsyncContextManager

import pytest

from services.system_api.operations.postgres import PostgresSourceStore
from services.system_api.operations.store import SourceStore
from shared.database.options import DatabaseOptions
from tests.contracts.operations.suite import SourceStoreContract


class PostgresDeployment:
    """One database; each connection is that of a replica."""

    def __init__(self, options: DatabaseOptions) -> None:
        self._options = options

    def connect(self) -> AbstractAsyncContextManager[SourceStore]:
        return PostgresSourceStore.opened(self._options)


@pytest.mark.every_postgres
class TestPostgresOperations(SourceStoreContract):
    @pytest.fixture
    async def deployment(self, migrated_database: DatabaseOptions) -> PostgresDeployment:
        return PostgresDeployment(migrated_database)
