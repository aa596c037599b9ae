"""The retry policy: named errors only, with a limit and jitter, counted, and without waits in tests.

Work that is endless runs again after any error: `restarting`.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from typing import Final, NoReturn, TypeVar

from pydantic import Field, model_validator
from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception_type,
    stop_after_attempt,
    stop_after_delay,
    stop_any,
)
from tenacity.wait import wait_base

from shared.errors import Unavailable
from shared.runtime.clock import SYSTEM_CLOCK, Clock
from shared.runtime.tasks import cancel_requested
from shared.settings import Options

logger = logging.getLogger(__name__)

T = TypeVar("T")

PAUSE = 1.0
"""Seconds between two attempts to reach what a service needs from its start."""

FIRST_PAUSE: Final = 1.0
LONGEST_PAUSE: Final = 60.0
"""Seconds before work runs again; also how long it has to run for the next pause to be the first one again."""


class RetryOptions(Options):
    """How often to retry before a failure counts as an outage."""

    attempts: int = Field(default=8, ge=1)
    """Attempts in all, including the first."""

    first_wait: float = Field(default=0.2, ge=0)
    """Seconds: the maximum of the first wait. The maximum doubles with each attempt."""

    longest_wait: float = Field(default=30.0, ge=0)
    """Seconds: the maximum of any wait."""

    probe_interval: float | None = Field(default=None, gt=0)
    """Seconds between the attempts after an outage was reported; by default `longest_wait`."""

    give_up_after: float | None = Field(default=None, gt=0)
    """Seconds in all after which no attempt begins; without it, `attempts` alone decides."""

    @model_validator(mode="after")
    def _waits_in_order(self) -> "RetryOptions":
        if self.first_wait > self.longest_wait:
            msg = f"first_wait ({self.first_wait}) is above longest_wait ({self.longest_wait})"
            raise ValueError(msg)
        return self


class FullJitter(wait_base):
    """Waits a random share of an exponentially growing maximum ("full jitter").

    It spreads clients that failed at the same time better than jitter added to a wait: see "Exponential Backoff And
    Jitter", M. Brooker, 2015. tenacity's own class takes no random generator.
    """

    def __init__(self, options: RetryOptions, rng: random.Random) -> None:
        self._options = options
        self._rng = rng

    def __call__(self, retry_state: RetryCallState) -> float:
        """Return the seconds to wait after attempt number `retry_state.attempt_number`."""
        # 2**64 exceeds any maximum; without this limit, the float overflows after a thousand attempts.
        doublings = min(retry_state.attempt_number - 1, 64)
        ceiling = min(self._options.longest_wait, self._options.first_wait * 2.0**doublings)
        return self._rng.uniform(0.0, ceiling)


def retrying(
    options: RetryOptions,
    *,
    on_retry: Callable[[RetryCallState], None] | None = None,
    retry_on: type[Exception] | tuple[type[Exception], ...] = Unavailable,
    clock: Clock = SYSTEM_CLOCK,
    sleep: Callable[[float], Awaitable[None]] | None = None,
    rng: random.Random | None = None,
) -> AsyncRetrying:
    """Retry `Unavailable`; any other error is a bug or bad data, and is raised at once.

    `sleep` waits between two attempts, by default on the clock.
    After the last attempt, its error is raised unchanged.
    """
    stop = stop_after_attempt(options.attempts)
    return AsyncRetrying(
        retry=retry_if_exception_type(retry_on),
        stop=stop if options.give_up_after is None else stop_any(stop, stop_after_delay(options.give_up_after)),
        wait=FullJitter(options, rng or random.Random()),  # noqa: S311 -- jitter, not a secret
        before_sleep=on_retry,
        sleep=sleep or clock.sleep,
        reraise=True,
    )


async def when_available(
    work: Callable[[], Awaitable[T]], report: Callable[[str | None], None], clock: Clock = SYSTEM_CLOCK
) -> T:
    """Try `work` once a second until what it needs is available, and return what it gives.

    `report` takes the reason of each failed attempt, and None after the one that succeeds.
    """
    while True:
        try:
            found = await work()
        except Unavailable as exc:
            report(str(exc))
            await clock.sleep(PAUSE)
        else:
            report(None)
            return found


async def restarting(name: str, work: Callable[[], Awaitable[object]], clock: Clock) -> NoReturn:
    """Run endless work until cancelled, and again whenever it ends: after an error that it does not handle itself.

    Such an error is a bug, or input that nobody has foreseen. Each is logged with `name`; the pauses grow.
    """
    pause = FIRST_PAUSE
    while True:
        began = clock.monotonic()
        error: BaseException
        try:
            await work()
            error = RuntimeError(f"{name} ended unexpectedly")
        except asyncio.CancelledError as exc:
            if cancel_requested():
                raise
            error = exc  # something that it awaited was cancelled
        except Exception as exc:  # noqa: BLE001 -- logged
            error = exc
        if clock.monotonic() - began >= LONGEST_PAUSE:
            pause = FIRST_PAUSE
        fields = {"task": name, "error": str(error) or type(error).__name__, "retry_in_s": pause}
        logger.error("task failed; restarting", exc_info=error, extra=fields)
        await clock.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE)
