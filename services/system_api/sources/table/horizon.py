"""The horizon: every row below it is committed or never will be, so no further row can appear below it.

A row gets its order value (a key from a sequence, the time of its transaction) when it is written, but becomes visible
when its transaction commits, later and in any order. A reader that remembers the highest value it has seen misses the
rows that appear below it. Instead, each poll observes a *bound* together with the set of transactions that are open. A
transaction that begins later takes values above the bound only. So when all transactions of the set have ended, no row
can appear below the bound any more, and the horizon moves to it.

The bound must be read before the transactions are listed, and the rows after that: then a row that is not visible was
written by a listed transaction, or by one that began after the bound was read and writes above it.

The `xmin` of a snapshot is not enough: a transaction has no id before its first write, but may already hold a key from
a sequence or the time of its beginning. It has a virtual id from the start.
"""

from collections.abc import Set as AbstractSet
from dataclasses import dataclass

_KEPT = 64


@dataclass(slots=True)
class _Observation:
    bound: int
    open: frozenset[str]


class Horizon:
    """Moves up as transactions end. It is not saved: a restart observes it again."""

    def __init__(self) -> None:
        self.value: int | None = None
        """Rows below this are final; None until the first observation has resolved."""
        self._pending: list[_Observation] = []
        self._seen_prepared: frozenset[str] = frozenset()

    def observe(self, bound: int | None, running: AbstractSet[str], prepared: AbstractSet[str] = frozenset()) -> None:
        """Add an observation: running transactions (virtual ids), and those prepared for a two-phase commit.

        `bound` must have been read *before* the transactions were listed, and rows must be read *after* that. None:
        there is no bound yet.
        """
        # A transaction that is prepared loses its virtual id, and the server does not tell which one it had: a newly
        # prepared one may be any of those that have ended.
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

    @property
    def waits_for(self) -> frozenset[str]:
        """The transactions that hold it back: those of the oldest observation that has not resolved."""
        return self._pending[0].open if self._pending else frozenset()

    def also(self, transaction: str, known_as: str) -> None:
        """Note that a transaction has a second name: observations that wait for it wait for both names."""
        for observation in self._pending:
            if transaction in observation.open:
                observation.open |= {known_as}

    def raise_to(self, value: int) -> None:
        """Note that rows below `value` are final for another reason."""
        self.value = value if self.value is None else max(self.value, value)
        self._resolve()

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
        """Keep few observations: of those with the same open transactions the latest; any one may be dropped."""
        kept: list[_Observation] = []
        for observation in self._pending:
            if kept and kept[-1].open == observation.open:
                kept.pop()
            kept.append(observation)
        if len(kept) > _KEPT:
            kept = [*kept[:-1:2], kept[-1]]
        self._pending = kept
