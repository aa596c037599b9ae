"""Looks keys up at an HTTP API, with a request for each key or for several."""

import asyncio
from collections.abc import Mapping, Sequence
from urllib.parse import quote

import msgspec

from services.process_api.pipeline.steps.client import LazyClient, json_body
from services.process_api.pipeline.steps.context import StepContext
from services.process_api.pipeline.steps.lookup.keys import Key, key_of, url_of
from services.process_api.pipeline.steps.lookup.lookups import Found
from services.process_api.pipeline.steps.lookup.options import BatchedRequest, HttpLookup
from shared.errors import TrelayError
from shared.expression.document import JsonDocument
from shared.expression.expression import Expression
from shared.expression.nodes import Raw
from shared.http.client.failures import UnusableResponse
from shared.runtime.tasks import together

_NOT_FOUND = 404
_items = msgspec.json.Decoder(list[Raw]).decode


class HttpBackend:
    """One HTTP API."""

    def __init__(self, options: HttpLookup, context: StepContext) -> None:
        self._options = options
        self._client = LazyClient(options.url, options, context, options.max_concurrent)
        self._response = None if options.response is None else Expression(options.response)
        self._items = None if options.batch is None else _Items(options.batch)
        self._slots = asyncio.Semaphore(options.max_concurrent)

    async def fetch(self, keys: Sequence[Key]) -> Found:
        """Request the values of these keys; raises as `Backend.fetch` does."""
        if self._items is not None:
            body = await self._body("{keys}", ",".join(quote(key.name, safe="") for key in keys))
            return {} if body is None else self._items.by_key(body)
        found: dict[str, bytes | TrelayError] = {}

        async def fetch_one(key: Key) -> None:
            try:
                body = await self._body("{key}", quote(key.name, safe=""))
            except TrelayError as exc:
                found[key.name] = exc
            else:
                if body is not None:
                    found[key.name] = body

        await together(*(fetch_one(key) for key in keys))
        return found

    async def _body(self, place: str, written: str) -> bytes | None:
        """Return the value of the response as JSON text, None where nothing is found."""
        url = url_of(self._options.url.replace(place, written))
        try:
            async with self._slots:
                response = await self._client.get(url)
        except UnusableResponse as exc:
            if exc.status == _NOT_FOUND:
                return None
            raise
        body = json_body(response, "GET", "response")
        return body if self._response is None else self._response.value(JsonDocument(body))


class _Items:
    """Finds the values of several keys in one response."""

    def __init__(self, options: BatchedRequest) -> None:
        self._items = Expression(options.items)
        self._key = Expression(options.key)

    def by_key(self, body: bytes) -> Mapping[str, bytes]:
        items = self._items.value(JsonDocument(body))
        if items is None:
            return {}
        # JSONata returns a sequence of one item as the item.
        found = [bytes(item) for item in _items(items)] if items[:1] == b"[" else [items]
        keys = [key_of(self._key.value(JsonDocument(item))) for item in found]
        return {key.name: item for key, item in zip(keys, found, strict=True) if key is not None}
