"""The horizon: everything below it has been committed or never will be, so what is not there now never will be.

Rows get their order value (a key from a sequence, the time of their transaction) when they are written, but appear
when their transaction commits, later and in any order. A reader that remembers the highest value it has seen misses
those that appear below. Here a reader notes, now and then, a *bound* with the set of transactions that are open at
that moment. A transaction that begins later takes values above the bound only. So once those of the set have ended,
nothing below the bound can appear any more, and the horizon moves there.

The bound has to be read before the transactions are listed, and the rows after that: what the rows lack was then
written by a transaction that is listed, or by one that began after the bound and writes above it.

The snapshot's `xmin` would not do: a transaction has no id before its first write, but may hold a key from a sequence
or the time of its beginning by then. Its virtual id it has from the start.
"""

from collections.abc import Set as AbstractSet
from dataclasses import dataclass

_KEPT = 64


@dataclass(slots=True)
class _Observation:
    bound: int
    open: frozenset[str]


class Horizon:
    """Moves up as transactions end. Not saved: after a restart it is observed anew."""

    def __init__(self) -> None:
        self.value: int | None = None
        """Rows below this are final; None before the first observation has resolved."""
        self._pending: list[_Observation] = []
        self._seen_prepared: frozenset[str] = frozenset()

    def observe(self, bound: int | None, running: AbstractSet[str], prepared: AbstractSet[str] = frozenset()) -> None:
        """Note which transactions run (their virtual ids) and which are prepared for a two-phase commit.

        What they wrote is to be read *after* they were listed; `bound` is to be from *before* that. None: there is
        no bound to observe yet.
        """
        # A transaction that is prepared gives up its virtual id. Whose it was is not told, so a newly prepared one
        # takes the place of any that has ended.
        fresh = frozenset(prepared) - self._seen_prepared
        self._seen_prepared = frozenset(prepared)
        now = frozenset(running) | self._seen_prepared
        for observation in self._pending:
            still = observation.open & now
            observation.open = still | fresh if still != observation.open else still
        if bound is not None:
            self._pending.append(_Observation(bound, now))
        self._resolve()
        self._merge()

    def _resolve(self) -> None:
        done = [observation.bound for observation in self._pending if not observation.open]
        if done:
            self.value = max(done) if self.value is None else max(self.value, *done)
        value = self.value
        self._pending = [
            observation
            for observation in self._pending
            if observation.open and (value is None or observation.bound > value)
        ]

    def _merge(self) -> None:
        """Keep few: of those that wait for the same transactions the latest; any may be dropped for its neighbour."""
        kept: list[_Observation] = []
        for observation in self._pending:
            if kept and kept[-1].open == observation.open:
                kept.pop()
            kept.append(observation)
        if len(kept) > _KEPT:
            kept = [*kept[:-1:2], kept[-1]]
        self._pending = kept
