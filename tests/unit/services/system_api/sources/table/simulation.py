"""Simulates a database whose transactions take an order value early and commit late."""

import random
from dataclasses import dataclass, field

from services.system_api.sources.table.horizon import Horizon
from services.system_api.sources.table.ledger import Ledger, Row


@dataclass
class _Transaction:
    name: str
    began: int
    rows: list[tuple[int, str]] = field(default_factory=list)


@dataclass
class Database:
    """Rows ordered by key, or by the time at which their transaction began."""

    rng: random.Random
    by_time: bool
    now: int = 0
    next_key: int = 1
    committed: dict[str, Row[int]] = field(default_factory=dict)
    _open: list[_Transaction] = field(default_factory=list)
    _begun: int = 0

    def step(self) -> None:
        """Do one random step: a transaction begins, writes, commits or rolls back."""
        self.now += self.rng.randrange(0, 3)
        roll = self.rng.random()
        if roll < 0.3 or not self._open:
            self._begun += 1
            self._open.append(_Transaction(f"1/{self._begun}", self.now))
            return
        transaction = self.rng.choice(self._open)
        if roll < 0.7:
            transaction.rows.append((transaction.began if self.by_time else self.next_key, str(self.next_key)))
            self.next_key += 1
        else:
            self._end(transaction, commit=roll < 0.95)

    def finish(self) -> None:
        """End every transaction."""
        for transaction in list(self._open):
            self._end(transaction, commit=True)

    def _end(self, transaction: _Transaction, *, commit: bool) -> None:
        self._open.remove(transaction)
        for order, key in transaction.rows if commit else ():
            row = Row(order, key, "", key, b"{}")
            self.committed[row.identity] = row

    def bound(self) -> int:
        """A lower bound of the order values of transactions that begin later."""
        return self.now if self.by_time else self.next_key

    def running(self) -> set[str]:
        """The open transactions."""
        return {transaction.name for transaction in self._open}

    def above(self, ledger: Ledger[int], limit: int) -> list[Row[int]]:
        """Return the rows that the statement would return."""
        rows = sorted(self.committed.values(), key=lambda row: (row.order, row.key))
        position = ledger.position
        if position is not None and position.key is None:
            rows = [row for row in rows if row.order >= position.order]
        elif position is not None:
            rows = [row for row in rows if (row.order, row.key) > (position.order, position.key)]
        return [row for row in rows if row.identity not in ledger.emitted][:limit]


@dataclass
class Reader:
    """Polls like the source, saves like the poller, and crashes now and then."""

    database: Database
    rng: random.Random
    limit: int
    emitted: list[str] = field(default_factory=list)
    crashes: bool = True
    saved: dict[str, bytes] = field(default_factory=dict)
    ledger: Ledger[int] = field(default_factory=lambda: Ledger("changed", int, {}))
    horizon: Horizon = field(default_factory=Horizon)

    def poll(self, between: int = 0) -> int:
        """Poll once, with `between` random steps of the database in between; return the number of new rows."""
        bound = self.database.bound()
        for _ in range(between):
            self.database.step()
        self.horizon.observe(bound, self.database.running())
        for _ in range(between):
            self.database.step()
        rows = self.database.above(self.ledger, self.limit)
        fresh, saved = self.ledger.take(rows, self.horizon.value, complete=len(rows) < self.limit)
        if self.crashes and self.rng.random() < 0.1:
            self.crash()
            return len(fresh)
        for part, value in saved.items():
            if value is None:
                self.saved.pop(part)
            else:
                self.saved[part] = value
        self.emitted += [row.identity for row in fresh]
        return len(fresh)

    def crash(self) -> None:
        """Lose what was not saved, and resume from what was."""
        self.ledger = Ledger("changed", int, dict(self.saved))
        self.horizon = Horizon()
