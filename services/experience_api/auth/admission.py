"""Decides whether a request may be admitted now. Sans-I/O: cheap checks first, and none that costs a round trip.

In order: is the replica draining; are too many requests in progress; has the address attempts left. Only then is the
token read (`tokens.py`: its form, then its signature), and only a genuine one reaches the database. From then on the
attempt is charged to the client and not to its address, and a success is charged to neither: any number of valid
consumers may share one address, and only failures use up a budget.
"""

import contextlib
from collections import OrderedDict
from collections.abc import Iterator
from typing import NamedTuple

from pydantic import Field

from services.experience_api.refusals import BUSY, DRAINING, TOO_MANY_ATTEMPTS, Refused
from shared.settings import Options

_SERVER_ERRORS = 500
"""From this status on, the service fails and not the request."""


class AdmissionOptions(Options):
    """Limits on unauthenticated requests."""

    failures: int = Field(default=60, ge=1)
    """Attempts of one address (one /64 of IPv6) or one client that may fail before it has to wait.

    An attempt counts as failed until it succeeds, so this also limits the concurrent attempts of one address.
    """

    failures_per_second: float = Field(default=2.0, gt=0)
    """Attempts regained per second."""

    addresses: int = Field(default=20_000, ge=1)
    """Addresses and clients whose failures are counted, some 200 bytes each. Beyond it, the least recent is dropped."""

    max_concurrent: int = Field(default=200, ge=1)
    """Requests in progress at once in this replica.

    Each may hold a database connection for a moment. Those beyond the limit are refused as busy, not queued.
    """

    retry_after: float = Field(default=2.0, gt=0)
    """Seconds to wait that the refusal names."""


class _Bucket(NamedTuple):
    left: float
    at: float


class Budgets:
    """A token bucket per name, in bounded memory. A full bucket is dropped."""

    def __init__(self, options: AdmissionOptions) -> None:
        self._full = float(options.failures)
        self._rate = options.failures_per_second
        self._names = options.addresses
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, name: str, now: float) -> None:
        """Take one attempt. `now` is monotonic.

        Raises:
            Refused: `TOO_MANY_ATTEMPTS`, with the seconds until the next attempt is available.
        """
        left = self._left(name, now)
        if left < 1:
            raise Refused(TOO_MANY_ATTEMPTS, retry_after=(1 - left) / self._rate)
        self._store(name, _Bucket(left - 1, now))

    def give_back(self, name: str, now: float) -> None:
        """Return an attempt that did not fail. `now` may be when it began."""
        bucket = self._buckets.get(name)
        now = now if bucket is None else max(now, bucket.at)  # the same seconds must not refill it twice
        self._store(name, _Bucket(self._left(name, now) + 1, now))

    def _left(self, name: str, now: float) -> float:
        bucket = self._buckets.get(name)
        if bucket is None:
            return self._full
        return min(self._full, bucket.left + max(0.0, now - bucket.at) * self._rate)

    def _store(self, name: str, bucket: _Bucket) -> None:
        if bucket.left >= self._full:
            self._buckets.pop(name, None)
            return
        self._buckets[name] = bucket
        self._buckets.move_to_end(name)
        if len(self._buckets) > self._names:
            self._buckets.popitem(last=False)


class Admission:
    """Counts requests in progress and failures, and refuses all requests once the replica drains."""

    def __init__(self, options: AdmissionOptions) -> None:
        self._options = options
        self._budgets = Budgets(options)
        self._in_progress = 0
        self._closed = False

    @property
    def in_progress(self) -> int:
        """How many requests are in progress."""
        return self._in_progress

    def close(self) -> None:
        """Refuse every request from now on."""
        self._closed = True

    @contextlib.contextmanager
    def attempt(self, address: str, now: float) -> Iterator["Attempt"]:
        """Count a request as in progress while the context is open; call `succeeded()` once it is admitted.

        Raises:
            Refused: `DRAINING`, `TOO_MANY_ATTEMPTS` or `BUSY`, with the time to wait.
        """
        if self._closed:
            raise Refused(DRAINING, retry_after=self._options.retry_after)
        # Checked before the budget of the address: a request refused here is no failure of the client.
        if self._in_progress >= self._options.max_concurrent:
            raise Refused(BUSY, retry_after=self._options.retry_after)
        self._budgets.take(address, now)
        self._in_progress += 1
        attempt = Attempt(self._budgets, address)
        try:
            yield attempt
        except Exception as exc:
            if not isinstance(exc, Refused) or exc.refusal.status >= _SERVER_ERRORS:
                attempt.succeeded(now)  # the service failed, not the client
            raise
        finally:
            self._in_progress -= 1


class Attempt:
    """One attempt, and the budget it is charged to."""

    def __init__(self, budgets: Budgets, address: str) -> None:
        self._budgets = budgets
        self._charged = address

    def identified(self, client_id: str, now: float) -> None:
        """Charge the authenticated client instead of the address, which other clients may share.

        Raises:
            Refused: `TOO_MANY_ATTEMPTS`: the client has failed too often.
        """
        self._budgets.give_back(self._charged, now)
        self._charged = f"client {client_id}"
        self._budgets.take(self._charged, now)

    def succeeded(self, now: float) -> None:
        """Return the charge."""
        self._budgets.give_back(self._charged, now)
