"""The inbox in PostgreSQL keeps the promises of every inbox."""

from contextlib import AbstractAsyncContextManager

import pytest

from services.system_api.sources.http.webhook.inbox.postgres import PostgresInbox
from services.system_api.sources.http.webhook.inbox.protocol import Inbox
from shared.database.options import DatabaseOptions
from tests.contracts.inbox.suite import InboxContract


class PostgresDeployment:
    """One database; each connection is that of a replica."""

    def __init__(self, options: DatabaseOptions) -> None:
        self._options = options

    def connect(self) -> AbstractAsyncContextManager[Inbox]:
        return PostgresInbox.opened(self._options)


class TestPostgresInbox(InboxContract):
    @pytest.fixture
    async def deployment(self, migrated_database: DatabaseOptions) -> PostgresDeployment:
        return PostgresDeployment(migrated_database)
