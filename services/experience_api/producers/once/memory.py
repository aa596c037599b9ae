"""The keys in memory: for unit tests, with every guarantee of the protocol."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from services.experience_api.producers.once.keys import Key
from services.experience_api.producers.once.store import Found, KeyState
from services.experience_api.registry.protocol import Node
from shared.errors import Fenced
from shared.runtime.clock import SYSTEM_CLOCK, Clock

_HOUR = 3600.0


@dataclass(slots=True)
class _Writer:
    node: Node
    committed: int = 0
    closed: bool = False


@dataclass(frozen=True, slots=True)
class _Claim:
    key: Key
    writer: str
    round_number: int
    claimed_at: float


class MemoryKeyStore:
    """A `KeyStore` of one process. Nothing here awaits, so every operation is atomic."""

    def __init__(self, alive: Callable[[Node], bool], clock: Clock = SYSTEM_CLOCK) -> None:
        """`alive` returns whether a replica holds its lease."""
        self._alive = alive
        self._clock = clock
        self._writers: dict[str, _Writer] = {}
        self._claims: dict[bytes, _Claim] = {}

    async def open(self, writer: str, node: Node) -> None:
        self._writers[writer] = _Writer(node)

    async def claim(self, writer: str, round_number: int, keys: Sequence[Key], committed: int) -> list[KeyState]:
        own = self._writers[writer]
        if own.closed:
            raise Fenced(f"writer {writer} of idempotency keys is closed")
        own.committed = max(own.committed, committed)
        return [self._claim(writer, round_number, key) for key in keys]

    async def release(self, writer: str, round_number: int, keys: Sequence[Key]) -> None:
        for key in keys:
            held = self._claims.get(key.digest)
            if held is not None and (held.writer, held.round_number) == (writer, round_number):
                del self._claims[key.digest]

    async def committed(self, writer: str, round_number: int) -> None:
        own = self._writers[writer]
        if not own.closed:
            own.committed = max(own.committed, round_number)

    async def close(self, writer: str, committed: int) -> None:
        await self.committed(writer, committed)
        self._writers[writer].closed = True

    async def sweep(self, hours: float, limit: int) -> Found:
        since = self._clock.monotonic() - hours * _HOUR
        self._claims = {digest: claim for digest, claim in self._claims.items() if claim.claimed_at >= since}
        abandoned = [name for name, found in self._writers.items() if not found.closed and not self._alive(found.node)]
        return Found(abandoned, len(self._claims) >= limit)

    def _claim(self, writer: str, round_number: int, key: Key) -> KeyState:
        held = self._claims.get(key.digest)
        owner = None if held is None else self._writers[held.writer]
        if held is None or owner is None or (owner.closed and held.round_number > owner.committed):
            self._claims[key.digest] = _Claim(key, writer, round_number, self._clock.monotonic())
            return KeyState.CLAIMED
        if None not in {key.fingerprint, held.key.fingerprint} and key.fingerprint != held.key.fingerprint:
            return KeyState.DIFFERENT
        if held.round_number <= owner.committed:
            return KeyState.PUBLISHED
        return KeyState.IN_PROGRESS if self._alive(owner.node) else KeyState.ABANDONED
