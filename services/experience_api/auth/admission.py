"""Decides whether a request may be admitted now. Sans-I/O: cheap checks first, and none that costs a round trip.

An attempt begins *unproven*, and is charged to its address if it fails. Once it has proven who it is, by a token whose
signature verifies or by a secret that was right before, it continues in a *lane* of its own: the budget of the address
no longer matters, and a failure is charged to the lane. A success is charged to neither. So any number of valid
consumers may share an address with any number of failing ones.

An address without attempts left is not refused outright, because a right secret may come from it: its attempts are
*crowded*. The caller lets them take turns, and those that fail are answered 429 in place of their own refusal.
"""

import contextlib
from collections import OrderedDict
from collections.abc import Iterator
from typing import NamedTuple, Self

from pydantic import Field

from services.experience_api.refusals import BUSY, DRAINING, TOO_MANY_ATTEMPTS, Refused
from shared.settings import Options

_SERVER_ERRORS = 500
"""From this status on, the service fails and not the request."""


class AdmissionOptions(Options):
    """Limits on unauthenticated requests."""

    failures: int = Field(default=60, ge=1)
    """Attempts of one address (one /64 of IPv6), or of one client at one address, that may fail before they have to
    wait. An attempt that succeeds is always accepted, and is not charged.

    An attempt counts as failed until it succeeds, so this also limits the concurrent attempts of one client.
    """

    failures_per_second: float = Field(default=2.0, gt=0)
    """Attempts regained per second."""

    addresses: int = Field(default=20_000, ge=1)
    """Addresses and clients whose failures are counted, some 200 bytes each. Beyond it, the least recent is dropped."""

    max_concurrent: int = Field(default=200, ge=1)
    """Requests in progress at once in this replica: so many of clients that have proven who they are, and so many of
    others.

    Each may hold a database connection for a moment. Those beyond the limit are refused as busy, not queued.
    """

    retry_after: float = Field(default=2.0, gt=0)
    """Seconds to wait that the refusal names."""


class _Bucket(NamedTuple):
    left: float
    at: float


class Budgets:
    """A token bucket per name, in bounded memory. A full bucket is dropped."""

    def __init__(self, full: float, per_second: float, names: int) -> None:
        """Each name begins with `full` attempts, and regains them `per_second`. At most `names` are stored."""
        self._full = float(full)
        self._rate = per_second
        self._names = names
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    @classmethod
    def of(cls, options: AdmissionOptions) -> Self:
        return cls(options.failures, options.failures_per_second, options.addresses)

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, name: str, now: float) -> None:
        """Take one attempt. `now` is monotonic.

        Raises:
            Refused: `TOO_MANY_ATTEMPTS`, with the seconds until the next attempt is available.
        """
        if not self.take_if_left(name, now):
            raise Refused(TOO_MANY_ATTEMPTS, retry_after=self.wait(name, now))

    def take_if_left(self, name: str, now: float) -> bool:
        """Take one attempt; return False and take none if none is left."""
        left = self._left(name, now)
        if left < 1:
            return False
        self._store(name, _Bucket(left - 1, now))
        return True

    def wait(self, name: str, now: float) -> float:
        """Return the seconds until an attempt is left."""
        return max(0.0, 1 - self._left(name, now)) / self._rate

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


class _Counted:
    """Requests in progress, of a limited number."""

    def __init__(self, options: AdmissionOptions) -> None:
        self._options = options
        self.count = 0

    def enter(self) -> None:
        if self.count >= self._options.max_concurrent:
            raise Refused(BUSY, retry_after=self._options.retry_after)
        self.count += 1


class Admission:
    """Counts requests in progress and failures, and refuses all requests once the replica drains."""

    def __init__(self, options: AdmissionOptions) -> None:
        self._options = options
        # Apart, so that no number of addresses displaces a lane.
        self._addresses, self._lanes = Budgets.of(options), Budgets.of(options)
        self._unproven, self._proven = _Counted(options), _Counted(options)
        self._closed = False

    @property
    def in_progress(self) -> int:
        """How many requests are in progress."""
        return self._unproven.count + self._proven.count

    def close(self) -> None:
        """Refuse every request from now on."""
        self._closed = True

    @contextlib.contextmanager
    def attempt(self, address: str, now: float) -> Iterator["Attempt"]:
        """Count a request as in progress while the context is open; call `succeeded()` once it is admitted.

        Raises:
            Refused: `DRAINING` or `BUSY`, with the time to wait; `TOO_MANY_ATTEMPTS` in place of the refusal that the
                body raises, if the attempt is crowded.
        """
        if self._closed:
            raise Refused(DRAINING, retry_after=self._options.retry_after)
        # Checked before the budget of the address: a request refused here is no failure of the client.
        self._unproven.enter()
        attempt = Attempt(address, now, (self._addresses, self._lanes), (self._unproven, self._proven))
        try:
            yield attempt
        except Refused as exc:
            if exc.refusal.status >= _SERVER_ERRORS:
                attempt.succeeded(now)  # the service failed, not the client
            elif attempt.crowded and exc.refusal is not TOO_MANY_ATTEMPTS:
                detail = f"{exc.detail}; {TOO_MANY_ATTEMPTS.title.lower()}"
                raise Refused(TOO_MANY_ATTEMPTS, detail, retry_after=self._addresses.wait(address, now)) from exc
            raise
        except Exception:
            attempt.succeeded(now)
            raise
        finally:
            attempt.end()


class Attempt:
    """One attempt, and the budget it is charged to."""

    def __init__(
        self, address: str, now: float, budgets: tuple[Budgets, Budgets], counted: tuple[_Counted, _Counted]
    ) -> None:
        """Take `Admission.attempt`. The pairs are for attempts that are unproven and proven."""
        self._address = address
        self._budgets, self._lanes = budgets
        self._counted, self._proven = counted
        self._charged: str | None = address
        self.crowded = not self._budgets.take_if_left(address, now)
        """Whether too many attempts of its address have failed, and this one has proven nothing yet."""
        if self.crowded:
            self._charged = None

    def proven(self, client: str, now: float) -> None:
        """Continue in the lane of a client at this address. `client` names what the request has proven to be.

        Raises:
            Refused: `TOO_MANY_ATTEMPTS`: the client has failed too often here; `BUSY`.
        """
        self.succeeded(now)
        self.crowded = False
        # With the address: the same credentials that fail elsewhere must not exclude those that succeed here.
        lane = f"{client} {self._address}"
        self._lanes.take(lane, now)
        self._budgets, self._charged = self._lanes, lane
        self._proven.enter()
        self._counted.count -= 1
        self._counted = self._proven

    def succeeded(self, now: float) -> None:
        """Return the charge."""
        if self._charged is not None:
            self._budgets.give_back(self._charged, now)
            self._charged = None

    def end(self) -> None:
        """Count the request as in progress no longer."""
        self._counted.count -= 1
