"""An API as a source. A poll reads one page, or what is left of the page before; after the last page the source waits.

    request → response → JSON → records → those that are new, with the checkpoint that knows them

A request that fails has changed nothing, and the next poll sends it again. After a crash the pages are read from the
first one again, and the checkpoint knows which of their records were published.
"""

import asyncio
import logging
from datetime import datetime
from typing import Literal

from services.system_api.sources.http.polling.fetching import PageFetcher
from services.system_api.sources.http.polling.pager import Request
from services.system_api.sources.http.polling.sweep import Sweep
from services.system_api.sources.source import Batch, Checkpoint, Loss
from shared.errors import Malformed, Unavailable
from shared.http.client.client import HttpClient
from shared.http.client.failures import RateLimited, UnusableResponse

logger = logging.getLogger(__name__)

_SHARE_OF_POLL = 0.9
"""The share of `poll_timeout` after which a poll ends by itself, before it counts as stalled."""
_SHARE_OF_WAIT = 0.3
"""The share of `poll_timeout` that a poll waits where the API wants a pause."""

_SHOWN = 100
"""Characters of a cursor that are shown."""
_PAGE = 100_000
"""Records of one batch while the end is looked for."""


class HttpSource:
    """A `Source` of one API."""

    def __init__(
        self, name: str, sweep: Sweep, client: HttpClient, fetcher: PageFetcher, poll_timeout: float, attempts: int
    ) -> None:
        """After `attempts` refusals in succession because of its rate, the API counts as unavailable."""
        self._sweep = sweep
        self._client = client
        self._fetcher = fetcher
        self._timeout = poll_timeout
        self._attempts = attempts
        self._refusals = 0
        self._failure: Unavailable | None = None
        """Why the last request failed."""
        self._name = name
        self._fields: dict[str, object] = {"component": "source", "source": name}

    async def poll(self, limit: int) -> Batch:
        """Return the events of a page, at most `limit`; see `Source`."""
        request = self._sweep.request
        if request is not None:
            try:
                async with asyncio.timeout(self._timeout * _SHARE_OF_POLL):
                    if (found := await self._load(request)) is not None:
                        return found
            except TimeoutError as exc:
                raise Unavailable(f"{self._client.name(request.url)}: no page within poll_timeout") from exc
        # Nothing is awaited from here on: a failure before this has changed no state.
        return self._sweep.batch(limit)

    async def wait_for_change(self) -> None:
        """Never return: an API does not notify."""
        await asyncio.get_running_loop().create_future()

    async def checkpoint_at(self, place: Literal["beginning", "end"] | datetime) -> Checkpoint:
        """Return the checkpoint of a place; see `Rewinding`."""
        if place != "end":
            return self._sweep.checkpoint_at(place)
        while (found := await self.seek_end()) is None:
            pass
        return found

    async def seek_end(self) -> Checkpoint | None:
        """Read a page of the list, and return the checkpoint behind the last one; see `Seeking`."""
        batch = await self.poll(_PAGE)
        if (reason := self._sweep.moving) is not None:
            raise Malformed(f"the end cannot be found: {reason}")
        return None if batch.more else self._sweep.checkpoint()

    async def snapshot(self) -> dict[str, bytes | None]:
        """Let the next reading of the list publish all of it; see `Snapshotting`. After a crash it begins again."""
        return self._sweep.begin_snapshot()

    async def _load(self, request: Request) -> Batch | None:
        """Read a page; return what a poll returns without one: it has to wait, or begins again."""
        if await self._client.wait(self._timeout * _SHARE_OF_WAIT) > 0:
            if self._failure is not None:
                raise Unavailable(str(self._failure))
            return self._waiting()
        try:
            page = await self._fetcher.fetch(request)
        except RateLimited as exc:
            return self._note_refusal(exc)
        except Unavailable as exc:
            self._failure = exc
            raise
        except UnusableResponse as exc:
            return self._begin_again(request, exc)
        if self._refusals:
            logger.info("rate limit is over", extra=self._fields | {"count": self._refusals})
        self._refusals, self._failure = 0, None
        self._sweep.load(page, self._client.name(request.url))
        return None

    def _waiting(self) -> Batch:
        return Batch(more=True, problems=self._sweep.problems)

    def _begin_again(self, request: Request, error: UnusableResponse) -> Batch:
        """Begin again where the API knows the cursor no longer; otherwise raise the error."""
        cursor = self._sweep.expired(request, error.status, error.body)
        if cursor is None:
            raise error
        parts, shown = self._sweep.begin_again(), cursor[:_SHOWN]
        if parts is None:
            raise UnusableResponse(
                f"{error}; the API knows the cursor {shown!r} no longer. To read what it still has from the beginning,"
                f" run `trelay sources rewind {self._name} --to beginning`, or set changes.on_expired: restart",
                error.status,
            ) from error
        text = (
            f"changes.cursor: the API knows the cursor {shown!r} no longer ({error}); reading from the beginning again."
            " Changes behind that cursor that the API does not list any more are lost"
        )
        batch = self._waiting()
        batch.checkpoint, batch.losses = parts, (Loss(text),)
        return batch

    def _note_refusal(self, error: RateLimited) -> Batch:
        """Wait as long as the API wants; where it does not say, or refuses again and again, it is unavailable."""
        self._refusals += 1
        wait = self._client.held_for
        if wait <= 0 or self._refusals > self._attempts:
            self._failure = error
            raise error
        if self._refusals == 1:
            logger.warning(
                "rate limited; waiting", extra=self._fields | {"error": str(error), "retry_in_s": round(wait, 1)}
            )
        return self._waiting()
