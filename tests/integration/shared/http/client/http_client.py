"""Opens a client for a test."""

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
from yarl import URL

from shared.errors import TrelayError
from shared.http.client.client import HttpClient, opened_client
from shared.http.client.options import RequestOptions
from tests.integration.services.system_api.sources.http.http_poller import LOOPBACK, SteppedClock
from tests.servers.http_api import HttpApi


@contextlib.asynccontextmanager
async def client(url: str, clock: SteppedClock | None = None, **options: Any) -> AsyncIterator[HttpClient]:
    given = RequestOptions.model_validate({"network": LOOPBACK} | options)
    async with opened_client("system.sources.orders", URL(url), given, clock or SteppedClock()) as opened:
        yield opened


async def fails(api: HttpApi, error: type[TrelayError], path: str = "/", **options: Any) -> str:
    """Request a path, expect an error, and return its text."""
    async with client(api.url(), **options) as opened:
        with pytest.raises(error) as caught:
            await opened.get(URL(api.url(path)))
    assert caught.type is error
    return str(caught.value)
