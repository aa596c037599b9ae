"""May this request be let in, now? Sans-I/O: the cheapest questions first, and none that costs a round trip.

In order: is the replica leaving; are too many under way; has the address attempts left. Only then is the token read
(`tokens.py`: its form, then its signature), and only a genuine one reaches the database. From then on the client is
charged and not its address, and what succeeds is charged to nobody: any number of honest consumers may share one
address, and only failures use up a budget.
"""

import contextlib
from collections import OrderedDict
from collections.abc import Iterator
from typing import NamedTuple

from pydantic import Field

from services.experience_api.refusals import BUSY, DRAINING, TOO_MANY_ATTEMPTS, Refused
from shared.settings import Options

_OURS = 500
"""From this status on, it is the service that fails, and not the request."""


class AdmissionOptions(Options):
    """How much strangers may ask for."""

    failures: int = Field(default=60, ge=1)
    """Attempts that may fail at once, from one address (one /64 of IPv6) and of one client, before it has to wait.

    Attempts under way count as failures until they succeed, so this also bounds what one address has under way.
    """

    failures_per_second: float = Field(default=2.0, gt=0)
    """How fast one that has used them up gets them back."""

    addresses: int = Field(default=20_000, ge=1)
    """How many of them are remembered, some 200 bytes each; beyond, the one seen longest ago is forgotten."""

    under_way: int = Field(default=200, ge=1)
    """Handshakes and registrations under way at once in this replica.

    Each may hold a database connection for a moment; those beyond are told to come back rather than queued.
    """

    come_back_after: float = Field(default=2.0, gt=0)
    """Seconds that the ones beyond are told to wait."""


class _Bucket(NamedTuple):
    left: float
    at: float


class Budgets:
    """A token bucket for each name, in bounded memory. One that is full again is no different from none."""

    def __init__(self, options: AdmissionOptions) -> None:
        self._full = float(options.failures)
        self._rate = options.failures_per_second
        self._names = options.addresses
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, name: str, now: float) -> None:
        """Take one attempt; `now` is monotonic.

        Raises:
            Refused: `TOO_MANY_ATTEMPTS`, with the seconds until there is one.
        """
        left = self._left(name, now)
        if left < 1:
            raise Refused(TOO_MANY_ATTEMPTS, retry_after=(1 - left) / self._rate)
        self._keep(name, _Bucket(left - 1, now))

    def give_back(self, name: str, now: float) -> None:
        """Return an attempt that did not fail; `now` may be when it began."""
        bucket = self._buckets.get(name)
        now = now if bucket is None else max(now, bucket.at)  # nobody is given the same seconds twice
        self._keep(name, _Bucket(self._left(name, now) + 1, now))

    def _left(self, name: str, now: float) -> float:
        bucket = self._buckets.get(name)
        if bucket is None:
            return self._full
        return min(self._full, bucket.left + max(0.0, now - bucket.at) * self._rate)

    def _keep(self, name: str, bucket: _Bucket) -> None:
        if bucket.left >= self._full:
            self._buckets.pop(name, None)
            return
        self._buckets[name] = bucket
        self._buckets.move_to_end(name)
        if len(self._buckets) > self._names:
            self._buckets.popitem(last=False)


class Admission:
    """The door: counts who is in it, and closes when the replica drains."""

    def __init__(self, options: AdmissionOptions) -> None:
        self._options = options
        self._budgets = Budgets(options)
        self._under_way = 0
        self._closed = False

    @property
    def under_way(self) -> int:
        """How many are in the door."""
        return self._under_way

    def close(self) -> None:
        """Let nobody in any more."""
        self._closed = True

    @contextlib.contextmanager
    def attempt(self, address: str, now: float) -> Iterator["Attempt"]:
        """Be in the door for as long as the context lasts; say `succeeded()` on the way in.

        Raises:
            Refused: `DRAINING`, `TOO_MANY_ATTEMPTS` or `BUSY`, with the time to wait.
        """
        if self._closed:
            raise Refused(DRAINING, retry_after=self._options.come_back_after)
        # Asked before the address's budget is touched: those that are turned away here have failed at nothing.
        if self._under_way >= self._options.under_way:
            raise Refused(BUSY, retry_after=self._options.come_back_after)
        self._budgets.take(address, now)
        self._under_way += 1
        attempt = Attempt(self._budgets, address)
        try:
            yield attempt
        except Exception as exc:
            if not isinstance(exc, Refused) or exc.refusal.status >= _OURS:
                attempt.succeeded(now)  # it was we who failed
            raise
        finally:
            self._under_way -= 1


class Attempt:
    """One attempt under way, and who is charged for it."""

    def __init__(self, budgets: Budgets, address: str) -> None:
        self._budgets = budgets
        self._charged = address

    def identified(self, client_id: str, now: float) -> None:
        """Charge the client, now that it is known, and not the address, which honest ones may share.

        Raises:
            Refused: `TOO_MANY_ATTEMPTS`: the client has failed too often.
        """
        self._budgets.give_back(self._charged, now)
        self._charged = f"client {client_id}"
        self._budgets.take(self._charged, now)

    def succeeded(self, now: float) -> None:
        """Charge nobody."""
        self._budgets.give_back(self._charged, now)
