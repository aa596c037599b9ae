"""One subscriber, what it received, and what its reconnections took: in a pod, for `load.py`.

It reconnects as the client library does, whose decisions it takes, with the cursor of its last frame. It repairs
nothing: each event must come once.
"""

import asyncio
import json
import os
import random
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from urllib.parse import urlencode

import aiohttp

from services.experience_api.auth.secrets import generate
from trelay_client.state import GAP, Reconnect, Stopped, SubscriptionState, UnreadableFrame

URL = os.environ.get("URL", "https://experience-api:8080")
SECRET = generate(secrets.token_bytes)
"""Of every client. A chosen one would cost 50 ms of CPU at each registration."""
ACCOUNTS = 50
POLL = 0.05
"""Seconds."""
_REGISTERING = asyncio.Semaphore(4)


@dataclass
class Away:
    """The time from the end of a connection to the next one of the same subscriber."""

    since: float
    """A monotonic time."""
    paused: float = 0.0
    """Seconds of it in pauses that the protocol asks for."""
    attempts: int = 0
    seconds: float = 0.0
    """How long it was, once it has ended."""


@dataclass
class Phases:
    """What the attempts to connect took, in seconds, and how late this program itself was."""

    connect: list[float] = field(default_factory=list)
    """TCP and TLS."""
    upgrade: list[float] = field(default_factory=list)
    """From there to the response."""
    late: list[float] = field(default_factory=list)
    """Turns of the event loop, beyond the time that was waited for. A late program measures itself."""

    def tracing(self) -> aiohttp.TraceConfig:
        """Return what measures the requests of a session."""
        config = aiohttp.TraceConfig()
        config.on_connection_create_start.append(self._started)
        config.on_connection_create_end.append(self._connected)
        config.on_request_end.append(self._answered)
        return config

    async def measure_lateness(self) -> None:
        """Measure until cancelled."""
        while True:
            due = time.monotonic() + POLL
            await asyncio.sleep(POLL)
            self.late.append(time.monotonic() - due)

    async def _started(self, _session: aiohttp.ClientSession, context: SimpleNamespace, _: object) -> None:
        context.began = time.monotonic()

    async def _connected(self, _session: aiohttp.ClientSession, context: SimpleNamespace, _: object) -> None:
        now = time.monotonic()
        self.connect.append(now - context.began)
        context.began = now

    async def _answered(self, _session: aiohttp.ClientSession, context: SimpleNamespace, _: object) -> None:
        self.upgrade.append(time.monotonic() - context.began)


@dataclass
class Subscriber:
    """One consumer, and everything that it received."""

    name: str
    account: int | None = None
    """The only account that it asks for."""
    state: SubscriptionState = field(
        default_factory=lambda: SubscriptionState(None, can_register=True, rng=random.Random())
    )
    numbers: list[int] = field(default_factory=list)
    repeated: int = 0
    gaps: int = 0
    away: Away | None = None
    """While it has no connection, after its first one."""
    reconnected: list[Away] = field(default_factory=list)
    refused: list[int] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    """What else ended a connection, or prevented it."""
    token: str | None = None

    async def run(self, session: aiohttp.ClientSession) -> None:
        """Subscribe until cancelled, or until the client library would not go on."""
        while True:
            try:
                upcoming = await self._attempt(session)
            except Stopped as exc:
                self.failed.append(str(exc))
                return
            if upcoming.register:
                self.token = None
            if self.away is None and self.state.cursor is not None:
                self.away = Away(time.monotonic())
            if self.away is not None:
                self.away.paused += upcoming.pause
            await asyncio.sleep(upcoming.pause)

    async def _attempt(self, session: aiohttp.ClientSession) -> Reconnect:
        self.state.connecting()
        if self.away is not None:
            self.away.attempts += 1
        try:
            self.token = self.token or await self._register(session)
            return await self._listen(session, self.token)
        except aiohttp.WSServerHandshakeError as exc:
            self.refused.append(exc.status)
            after = "" if exc.headers is None else exc.headers.get("Retry-After", "")
            wait = float(after) if after.isdecimal() else None
            return self.state.refused(exc.status, exc.message, wait, registering=False)
        except (aiohttp.ClientError, OSError, TimeoutError) as exc:
            self.failed.append(type(exc).__name__)
            return self.state.lost(type(exc).__name__, 0.0)

    async def _register(self, session: aiohttp.ClientSession) -> str:
        headers = {"client_id": self.name, "client_secret": SECRET}
        async with _REGISTERING, session.post(f"{URL}/consumers", headers=headers) as answer:
            answer.raise_for_status()
            return str((await answer.json())["token"])

    async def _listen(self, session: aiohttp.ClientSession, token: str) -> Reconnect:
        query = {"cursor": self.state.cursor} if self.state.cursor else {}
        if self.account is not None:
            query |= {"channels": "feed", "filters": json.dumps({"feed": f"account = 's{self.account}'"})}
        headers = {"Authorization": f"Bearer {token}"}
        async with session.ws_connect(f"{URL}/ws/publish?{urlencode(query)}", headers=headers, heartbeat=10) as socket:
            began = time.monotonic()
            if self.away is not None:
                self.away.seconds = began - self.away.since
                self.reconnected.append(self.away)
                self.away = None
            while (message := await socket.receive()).type is aiohttp.WSMsgType.TEXT:
                self._note(message.data)
        lasted = time.monotonic() - began
        if socket.close_code is None or socket.close_code == aiohttp.WSCloseCode.ABNORMAL_CLOSURE:
            return self.state.lost("connection lost", lasted)
        return self.state.closed(socket.close_code, message.extra or "", lasted)

    def _note(self, text: str) -> None:
        frame = self.state.received(text)
        if frame is None:
            self.repeated += 1
        elif isinstance(frame, UnreadableFrame):
            self.failed.append(frame.reason)
        elif frame.own:
            self.gaps += frame.event["type"] == GAP
        else:
            self.numbers.append(int(frame.event["data"]["number"]))

    def expected(self, numbers: set[int]) -> set[int]:
        """Return those of some rows that it must receive."""
        return numbers if self.account is None else {each for each in numbers if each % ACCOUNTS == self.account}


def times(subscribers: list[Subscriber], phases: Phases) -> dict[str, object]:
    """Return the times of reconnecting, and what they are made of."""
    reconnected = [away for subscriber in subscribers for away in subscriber.reconnected]
    away = sorted(each.seconds for each in reconnected)
    return {
        "reconnects": len(away),
        "reconnect_p50_s": _quantile(away, 50),
        "reconnect_p99_s": _quantile(away, 99),
        "paused_p50_p99_s": _quantiles([each.paused for each in reconnected]),
        "beyond_pauses_p50_p99_s": _quantiles([each.seconds - each.paused for each in reconnected]),
        "attempts": sum(each.attempts for each in reconnected),
        "still_away": sum(subscriber.away is not None for subscriber in subscribers),
        "connect_p50_p99_s": _quantiles(phases.connect),
        "upgrade_p50_p99_s": _quantiles(phases.upgrade),
        "late_p50_p99_s": _quantiles(phases.late),
    }


def _quantiles(values: Sequence[float]) -> list[float | None]:
    ordered = sorted(values)
    return [_quantile(ordered, 50), _quantile(ordered, 99)]


def _quantile(ordered: Sequence[float], percent: int) -> float | None:
    return round(ordered[min(len(ordered) - 1, len(ordered) * percent // 100)], 3) if ordered else None
