"""Pages are read in a thread of their own, which makes and drops the expressions."""

import asyncio
import gc
import json
import threading
from typing import Any

import pytest

from services.system_api.sources.http.polling import reading
from services.system_api.sources.http.polling.options import HttpSourceOptions
from services.system_api.sources.http.polling.reading import PageReader
from services.system_api.sources.http.polling.records import Page, Selector
from shared.errors import Malformed

OPTIONS = HttpSourceOptions.model_validate(
    {"kind": "http", "url": "https://api.example/", "type": "t", "id": "$string(id)"}
)


async def test_a_page_is_read_in_another_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[str] = []

    class Watched(Selector):
        def page(self, body: bytes) -> Page:
            threads.append(threading.current_thread().name)
            return super().page(body)

    monkeypatch.setattr(reading, "Selector", Watched)
    async with PageReader.opened(OPTIONS, "system.sources.orders", "orders") as reader:
        pages = await asyncio.gather(*(reader.read(json.dumps([{"id": n}]).encode(), "") for n in range(3)))
    assert [page.records[0].id for page in pages] == ["0", "1", "2"]
    assert {name.partition("_")[0] for name in threads} == {"pages of source orders"}


async def test_the_expressions_are_dropped_where_they_were_made(capsys: Any) -> None:
    """jsonatapy reports an expression that another thread drops, which fails the test."""
    for _ in range(5):
        async with PageReader.opened(OPTIONS, "system.sources.orders", "orders") as reader:
            with pytest.raises(Malformed, match="the body is not JSON") as caught:
                await reader.read(b"<html>", "")
            with pytest.raises(Malformed, match="records"):
                await reader.read(b'"text"', "")
        del caught
        gc.collect()
