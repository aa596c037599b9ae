"""The service starts before its dependencies, reports what it waits for, and becomes ready with them."""

import asyncio
import contextlib
import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from services.standalone.embedded.postgres import PostgresServer
from services.system_api.app import LEASE_STORE
from shared.bus.postgres import PostgresBusOptions
from tests.e2e.programs import Program
from tests.integration.services.system_api.service import file_source, program


def get(url: str) -> tuple[int, Any]:
    try:
        with urllib.request.urlopen(url, timeout=60) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as exc:
        return exc.code, json.load(exc)


async def request(service: Program, path: str, until: Callable[[Any], bool] = bool) -> tuple[int, Any]:
    """Request a path until the response satisfies `until`."""
    url = service.ready_url.replace("readyz", path)
    answer: Any = "no response"
    try:
        async with asyncio.timeout(240):
            while True:
                with contextlib.suppress(OSError):
                    status, answer = await asyncio.to_thread(get, url)
                    if until(answer):
                        return status, answer
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise AssertionError(f"{url} said last: {answer}\n{service.tail()}") from None


@pytest.mark.timeout(900)
async def test_without_a_database_it_listens_and_it_is_ready_once_the_database_is(
    tmp_path: Path, own_postgres: PostgresServer, programs: list[Program]
) -> None:
    path = tmp_path / "a.ndjson"
    path.write_text('{"id":"1"}\n')
    dsn = own_postgres.dsn()
    await asyncio.to_thread(own_postgres.stop)
    sources = {"lines": file_source(path, channel="c")}
    service = program(tmp_path, dsn, PostgresBusOptions(), sources, node="only")
    programs.append(service)
    service.start()
    status, answer = await request(service, "readyz", lambda answer: "127.0.0.1" in answer["missing"][LEASE_STORE])
    assert (status, answer["ready"]) == (503, False)
    assert answer["missing"]["bus"] == "waiting for lease_store"
    assert (await request(service, "healthz"))[0] == 200
    await asyncio.to_thread(own_postgres.start)
    await service.ready()
    await request(service, "sources", lambda answer: answer["lines"]["parts"] == 2)
    began = time.monotonic()
    assert await service.stop() == 0, service.tail()
    assert time.monotonic() - began < 25  # less than one on an idle machine; a shutdown that is cut off takes 25
    logged = [json.loads(line) for line in service.tail(1000).splitlines()]
    outages = [line for line in logged if (line["message"], line.get("component")) == ("unavailable", "lease_store")]
    assert len(outages) == 1, "logged once"


@pytest.mark.timeout(900)
async def test_invalid_settings_end_the_service_with_the_place(tmp_path: Path, programs: list[Program]) -> None:
    sources = {"lines": {"kind": "file", "path": "a.txt", "type": "t", "subjekt": "id"}}
    service = program(tmp_path, "postgresql://x@127.0.0.1:1/x", PostgresBusOptions(), sources, node="only")
    programs.append(service)
    service.start()
    assert await service.ended(30) == 2
    assert "system.sources.lines" in service.tail()
    assert "subjekt" in service.tail()
