"""Opens a stream at a checkpoint."""

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from services.system_api.sources.http.streaming.connection import Upstream
from services.system_api.sources.http.streaming.cursors import StreamState
from services.system_api.sources.http.streaming.options import SseSourceOptions, StreamOptions, WebSocketSourceOptions
from services.system_api.sources.http.streaming.source import StreamSource, stream_epoch
from services.system_api.sources.http.streaming.sse import EventStreamUpstream
from services.system_api.sources.http.streaming.websocket import WebSocketUpstream
from services.system_api.sources.http.trial import Trial
from services.system_api.sources.source import Checkpoint, EventBuilder, Source, SourceOpener
from shared.errors import SettingsError
from shared.runtime.clock import Clock


class SseSourceKind(SseSourceOptions):
    """A stream of server-sent events."""

    def opener(self, name: str, clock: Clock, rng: random.Random) -> SourceOpener:
        """Return what opens the source of this name."""
        return stream_source(name, self, EventStreamUpstream(f"system.sources.{name}", self, clock), clock, rng)


class WebSocketSourceKind(WebSocketSourceOptions):
    """A stream of messages of a WebSocket."""

    def opener(self, name: str, clock: Clock, rng: random.Random) -> SourceOpener:
        """Return what opens the source of this name."""
        return stream_source(name, self, WebSocketUpstream(f"system.sources.{name}", self, clock), clock, rng)


def stream_source(
    name: str, options: StreamOptions, upstream: Upstream, clock: Clock, rng: random.Random
) -> SourceOpener:
    """Return what opens the source of this name."""
    place = f"system.sources.{name}"
    tried = Trial(place, options.expressions())

    @asynccontextmanager
    async def open_source(checkpoint: Checkpoint) -> AsyncIterator[Source]:
        try:
            state = StreamState(checkpoint, options.window, stream_epoch(clock, rng), options.start)
        except SettingsError as exc:
            raise SettingsError(f"{place}: {exc}") from exc
        await tried.check()
        builder = EventBuilder(name, options.type, options.channel, clock, rng)
        async with StreamSource.opened(name, options, upstream, state, builder, clock) as source:
            yield source

    return open_source
