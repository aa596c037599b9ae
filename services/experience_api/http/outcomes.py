"""What becomes of requests: counted in metrics, and logged where a connection ends."""

import logging
import random
from collections.abc import Awaitable, Callable, Mapping

from aiohttp import web
from prometheus_client import Counter

from services.experience_api.http.errors import refusing
from services.experience_api.http.retry_after import RetryAfter
from services.experience_api.hub.audience import Subscriber
from services.experience_api.hub.close_codes import CloseReason
from services.experience_api.metrics import ACCEPTED
from services.experience_api.refusals import Refused
from shared.runtime.clock import Clock

logger = logging.getLogger(__name__)

UNCACHED = {"Cache-Control": "no-store", "Pragma": "no-cache"}
"""Headers of responses that hold a secret, or events."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Outcomes:
    """Counts the outcomes of one endpoint, and spreads the times to retry that its refusals name."""

    def __init__(self, counters: Mapping[str, Counter], clock: Clock, rng: random.Random) -> None:
        self._counters = counters
        self._retry_after = RetryAfter(clock, rng)

    def accepted(self) -> None:
        self._counters[ACCEPTED].inc()
        self._retry_after.served()

    def refused(self, refused: Refused) -> Refused:
        """Count a refusal; return it with the time to wait that the response names."""
        self._counters[refused.refusal.label].inc()
        return self._retry_after.spread(refused)


def counted(handler: Handler, outcomes: Outcomes) -> Handler:
    """Count the refusals of a handler; the middleware of the application responds to them."""

    async def counting(request: web.Request) -> web.StreamResponse:
        try:
            with refusing(request.client_max_size):
                return await handler(request)
        except Refused as exc:
            refused = outcomes.refused(exc)
            try:
                if refused is exc:
                    raise  # not from itself: of such a cycle, only the garbage collector frees the frames
                raise refused from exc
            finally:
                del refused  # its traceback has this frame

    return counting


def gone(request: web.Request) -> bool:
    """Return whether the peer of a request has disconnected."""
    return request.transport is None or request.transport.is_closing()


def log_end(subscriber: Subscriber, reason: CloseReason) -> None:
    logger.info(
        "connection ended",
        extra={
            "client_id": subscriber.client_id,
            "connection_id": str(subscriber.connection_id),
            "code": reason.code,
            "reason": reason.name,
        },
    )
