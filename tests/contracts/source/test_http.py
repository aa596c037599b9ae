"""An HTTP API that is polled: a log of changes with a cursor, on a real server."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from aiohttp import web

from services.system_api.sources.http.polling.opening import HttpSourceKind
from tests.contracts.source.suite import SourceContract
from tests.contracts.source.upstream import COMMON, record
from tests.servers.http_api import http_api
from tests.servers.proxy import Proxy

_PAGE = 4


class ChangeLog:
    exactly_once = True

    def __init__(self, proxy: Proxy) -> None:
        self._port = proxy.port
        self.outage = proxy.outage
        self.slow = proxy.slow
        self._changes: list[dict[str, Any]] = []

    @classmethod
    @contextlib.asynccontextmanager
    async def opened(cls) -> AsyncIterator["ChangeLog"]:
        async with http_api() as api, Proxy.before("127.0.0.1", api.port) as proxy:
            log = cls(proxy)
            api.answers["/changes"] = log.answer
            yield log

    def options(self) -> HttpSourceKind:
        return HttpSourceKind.model_validate(
            {
                **COMMON,
                "kind": "http",
                "url": f"http://127.0.0.1:{self._port}/changes",
                "network": {"allow": ["127.0.0.1"]},
                "records": "changes",
                "id": "n",
                "subject": "k",
                "pagination": {"kind": "next", "url": "next"},
                "changes": {"kind": "cursor", "cursor": "cursor", "parameter": "after"},
                "timeout": 5,
            }
        )

    async def write(self, numbers: Sequence[int]) -> None:
        self._changes += [record(number) for number in numbers]
        await asyncio.sleep(0)

    async def write_poison(self) -> None:
        self._changes.append({"k": "a"})

    async def answer(self, request: web.Request) -> web.Response:
        after = int(request.query.get("after", "0"))
        page = self._changes[after : after + _PAGE]
        behind = after + len(page)
        more = behind < len(self._changes)
        following = f"/changes?after={behind}" if more else None
        return web.json_response({"changes": page, "cursor": str(behind), "next": following})


class TestHttp(SourceContract):
    interruptions = 6

    @pytest.fixture
    async def upstream(self) -> AsyncIterator[ChangeLog]:
        async with ChangeLog.opened() as log:
            yield log
