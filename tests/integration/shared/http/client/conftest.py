"""Fixtures of this folder."""

from collections.abc import AsyncIterator

import pytest

from tests.servers.http_api import HttpApi, http_api


@pytest.fixture
async def api() -> AsyncIterator[HttpApi]:
    """An HTTP API of this test's own."""
    async with http_api() as running:
        yield running
