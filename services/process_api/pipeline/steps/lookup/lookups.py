"""Looks keys up: from the cache, together with others that ask for the same key, or in batches at the other system."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from enum import Enum, auto
from typing import Protocol, TypeAlias

from services.process_api.pipeline.steps.lookup.cache import Cache
from services.process_api.pipeline.steps.lookup.keys import Key
from services.process_api.pipeline.steps.step import NotKnown
from shared.errors import Malformed, SettingsError, TrelayError, Unavailable
from shared.runtime.clock import Clock

Answer: TypeAlias = bytes | Malformed | Unavailable | None
"""What a key led to: a value as JSON text, an error that concerns this key alone, or nothing."""

Found: TypeAlias = Mapping[str, bytes | TrelayError]
"""By the names of the keys: values as JSON text, or why there is none. A key that is absent is not found."""

_BACK_OFF = 1.0
"""Seconds after a failure in which stale values are used without another attempt."""


class _Abandoned(Enum):
    LOOK_UP = auto()
    """The task that asked was cancelled, as by a rebalance: one of those that wait asks in its place."""


_Flying: TypeAlias = "asyncio.Future[Answer | _Abandoned]"


class Backend(Protocol):
    """Another system in which keys are looked up."""

    async def fetch(self, keys: Sequence[Key]) -> Found:
        """Return what is found for the keys: values, and errors that concern one of them.

        Raises:
            Unavailable: it does not answer, or cannot answer now.
            TrelayError: it refuses the keys, or the answer cannot be used.
        """
        ...


class Lookups:
    """The look-ups of one step, for all partitions."""

    def __init__(self, backend: Backend, cache: Cache, clock: Clock, batch_size: int) -> None:
        """`batch_size` is the most keys of one query."""
        self._backend = backend
        self._cache = cache
        self._clock = clock
        self._batch_size = batch_size
        self._in_flight: dict[str, _Flying] = {}
        self._failed_at = -_BACK_OFF

    def known(self, name: str) -> bytes | None:
        """Return the value of a key from the cache, None where nothing was found.

        Raises:
            NotKnown: it has to be looked up.
        """
        found = self._cache.fresh(name, self._clock.monotonic())
        if found is None:
            raise NotKnown
        return found[0]

    async def get(self, keys: Iterable[Key]) -> dict[str, Answer]:
        """Return the answer for each key, by its name."""
        answers: dict[str, Answer] = {}
        joined: dict[str, tuple[Key, _Flying]] = {}
        wanted: dict[str, Key] = {}
        now = self._clock.monotonic()
        for key in keys:
            name = key.name
            if name in answers or name in joined or name in wanted:
                continue
            if (known := self._cache.fresh(name, now)) is not None or (known := self._old(name, now)) is not None:
                answers[name] = known[0]
            elif (flying := self._in_flight.get(name)) is not None:
                joined[name] = (key, flying)
            else:
                wanted[name] = key
        await self._look_up(list(wanted.values()), answers)
        left: list[Key] = []
        for key, flying in joined.values():
            answer = await asyncio.shield(flying)
            if answer is _Abandoned.LOOK_UP:
                left.append(key)
            else:
                answers[key.name] = answer
        return answers | await self.get(left) if left else answers

    async def _look_up(self, keys: Sequence[Key], answers: dict[str, Answer]) -> None:
        """Add the answers for keys; others that want them meanwhile get the same."""
        loop = asyncio.get_running_loop()
        own: dict[str, _Flying] = {key.name: loop.create_future() for key in keys}
        self._in_flight |= own
        try:
            for start in range(0, len(keys), self._batch_size):
                for name, answer in (await self._ask(keys[start : start + self._batch_size])).items():
                    answers[name] = answer
                    own[name].set_result(answer)
        finally:
            for name, future in own.items():
                del self._in_flight[name]
                if not future.done():  # this task is cancelled, others are not
                    future.set_result(_Abandoned.LOOK_UP)

    def _old(self, name: str, now: float) -> tuple[bytes | None] | None:
        """Return an older value soon after a failure."""
        return self._cache.stale(name) if now - self._failed_at < _BACK_OFF else None

    async def _ask(self, keys: Sequence[Key]) -> dict[str, Answer]:
        found: Found
        try:
            found = await self._backend.fetch(keys)
        except (Unavailable, SettingsError) as exc:
            found = dict.fromkeys((key.name for key in keys), exc)
        except TrelayError as exc:
            if len(keys) > 1:
                # One of the keys is the reason: the half with it is asked for again, and so on.
                middle = len(keys) // 2
                return {**await self._ask(keys[:middle]), **await self._ask(keys[middle:])}
            found = {keys[0].name: exc}
        now = self._clock.monotonic()
        return {key.name: self._answer(key.name, found.get(key.name), now) for key in keys}

    def _answer(self, name: str, found: bytes | TrelayError | None, now: float) -> Answer:
        """Return the answer for a key, and keep what was found."""
        if isinstance(found, Unavailable | SettingsError):
            self._failed_at = now
            if (stale := self._cache.stale(name)) is not None:
                return stale[0]
            # Settings can be corrected while the service runs: no event is lost to them.
            return found if isinstance(found, Unavailable) else Unavailable(str(found))
        if isinstance(found, TrelayError):
            return found if isinstance(found, Malformed) else Malformed(str(found))
        self._cache.put(name, found, now)
        return found
