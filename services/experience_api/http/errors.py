"""Turns the errors of a request handler into refusals with a code."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from aiohttp import web

from services.experience_api import refusals
from services.experience_api.refusals import Refused
from shared.errors import Malformed, TooLarge, Unavailable

logger = logging.getLogger(__name__)

_RETRY_AFTER = 1.0


@contextmanager
def refusing(body_limit: int) -> Iterator[None]:
    """Raise errors in a request, and outages of dependencies, as refusals.

    `body_limit` is the size of body that the listener accepts, in bytes.

    Raises:
        Refused: as raised inside, or in place of another error.
    """
    try:
        yield
    except web.HTTPRequestEntityTooLarge as exc:
        raise Refused(refusals.TOO_LARGE, f"the body exceeds the limit of {body_limit} bytes") from exc
    except web.RequestPayloadError as exc:
        # The sender disconnected, or the body is not in the encoding that the request names.
        raise Refused(refusals.MALFORMED, "the body is incomplete or cannot be decoded") from exc
    except TooLarge as exc:
        raise Refused(refusals.TOO_LARGE, str(exc), event=exc.event) from exc
    except Malformed as exc:
        raise Refused(refusals.MALFORMED, str(exc), event=exc.event) from exc
    except Unavailable as exc:
        logger.warning("request refused: dependency unavailable", extra={"error": str(exc)})
        raise Refused(refusals.UNAVAILABLE, retry_after=_RETRY_AFTER) from exc
