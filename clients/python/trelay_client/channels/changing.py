"""Changes the channels of one connection: asks for one change after the other, while the connection lives."""

import asyncio
from contextlib import suppress
from http import HTTPStatus
from typing import Any

import aiohttp
from yarl import URL

from trelay_client.channels.changes import Change, Changes
from trelay_client.clock import Clock
from trelay_client.state import Frame
from trelay_client.tasks import ended, started

_TIMEOUT = aiohttp.ClientTimeout(total=30.0)
"""A connection that catches up is changed when it has been written what was read for it."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 30.0
_REFUSED = range(400, 500)
_PASSING = frozenset({401, 408, 409, 425, 429})
"""Statuses after which the same request may be accepted; a token that is refused ends the connection."""
_NOT_CONNECTED = "not-connected"
_DETAIL_LIMIT = 300


class Changing:
    """The changes of one connection."""

    def __init__(
        self, session: aiohttp.ClientSession, base: URL, token: str, changes: Changes | None, clock: Clock
    ) -> None:
        self._session = session
        self._base = base
        self._token = token
        self._changes = changes
        self._clock = clock
        self._added = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def begin(self, connected: Frame) -> None:
        """Ask for changes from now on: the relay has accepted the connection."""
        data = connected.event.get("data")
        connection = data.get("connection") if isinstance(data, dict) else None
        if self._changes is None or self._task is not None or not isinstance(connection, str):
            return
        loop = asyncio.get_running_loop()

        def wake() -> None:
            with suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(self._added.set)

        self._changes.connected(connection, wake)
        self._task = started("trelay channels", self._run(self._changes))

    def received(self, frame: Frame) -> None:
        """Take a control event."""
        if self._changes is not None:
            self._changes.received(frame.event)

    async def end(self) -> None:
        if self._task is None or self._changes is None:
            return
        try:
            await ended(self._task)
        finally:
            self._changes.disconnected()

    async def _run(self, changes: Changes) -> None:
        failures = 0
        while True:
            self._added.clear()
            while (found := changes.next()) is not None:
                wait = await self._ask(changes, *found)
                if wait is None:
                    failures = 0
                    continue
                await self._clock.sleep(max(wait, min(_LONGEST_PAUSE, _FIRST_PAUSE * 2.0 ** min(failures, 16))))
                failures += 1
            await self._added.wait()

    async def _ask(self, changes: Changes, change: Change, body: dict[str, Any]) -> float | None:
        """Ask for a change; return None once it has an answer, else the seconds after which to ask again."""
        try:
            # A redirect is not followed: the token would go to the address that the response names.
            async with self._session.post(
                self._base / "subscriptions",
                json=body,
                headers={"Authorization": f"Bearer {self._token}"},
                timeout=_TIMEOUT,
                allow_redirects=False,
            ) as response:
                if response.status == HTTPStatus.OK:
                    changes.made(change)
                    return None
                code, detail = await _problem(response)
                if response.status in _REFUSED and response.status not in _PASSING and code != _NOT_CONNECTED:
                    changes.refused(change, code, detail)
                    return None
                after = response.headers.get("Retry-After", "")
                return float(after) if after.isdecimal() else 0.0
        except (aiohttp.ClientError, OSError, TimeoutError):
            return 0.0


async def _problem(response: aiohttp.ClientResponse) -> tuple[str, str]:
    """Return the code and the detail of a refusal (RFC 9457); of another response, its status and its text."""
    with suppress(ValueError):
        found = await response.json(content_type=None)
        if isinstance(found, dict) and isinstance(found.get("code"), str):
            return found["code"], str(found.get("detail"))[:_DETAIL_LIMIT]
    return str(response.status), (await response.text(errors="replace"))[:_DETAIL_LIMIT] or str(response.reason)
