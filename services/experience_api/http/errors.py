"""How a refusal is said in HTTP."""

import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager

from aiohttp import web

from services.experience_api import refusals
from services.experience_api.refusals import Refused
from shared.errors import Malformed, TooLarge, Unavailable
from shared.http.problem import problem

logger = logging.getLogger(__name__)

_BASIC = 'Basic realm="trelay", charset="UTF-8"'
_BEARER = 'Bearer realm="trelay"'
_CHALLENGES = {
    refusals.WRONG_CREDENTIALS: _BASIC,
    refusals.TOKEN_MISSING: _BEARER,
    refusals.TOKEN_REFUSED: f'{_BEARER}, error="invalid_token"',
    refusals.TOKEN_EXPIRED: f'{_BEARER}, error="invalid_token", error_description="expired"',
}
_RETRY_AFTER = 1.0


@contextmanager
def refusing(body_limit: int) -> Iterator[None]:
    """Let whatever is wrong with a request, or keeps us from answering it, be a refusal with a code.

    `body_limit` is what the listener takes, in bytes.

    Raises:
        Refused: as it was raised inside, or in place of an error of ours.
    """
    try:
        yield
    except web.HTTPRequestEntityTooLarge as exc:
        raise Refused(refusals.TOO_LARGE, f"the body is above the limit of {body_limit} bytes") from exc
    except web.RequestPayloadError as exc:
        # Its sender broke off, or it is not in the encoding that the request says.
        raise Refused(refusals.MALFORMED, "the body cannot be read to its end, or decoded") from exc
    except TooLarge as exc:
        raise Refused(refusals.TOO_LARGE, str(exc)) from exc
    except Malformed as exc:
        raise Refused(refusals.MALFORMED, str(exc)) from exc
    except Unavailable as exc:
        logger.warning("a request could not be answered: %s", exc)
        raise Refused(refusals.UNAVAILABLE, retry_after=_RETRY_AFTER) from exc


def response_to(refused: Refused) -> web.Response:
    """Return the answer: problem details, with the headers that say what to do about it."""
    headers = {}
    if challenge := _CHALLENGES.get(refused.refusal):
        headers["WWW-Authenticate"] = challenge
    if refused.retry_after is not None:
        headers["Retry-After"] = str(max(1, math.ceil(refused.retry_after)))
    if refused.refusal is refusals.UPGRADE_REQUIRED:
        headers |= {"Upgrade": "websocket", "Sec-WebSocket-Version": "13"}  # RFC 6455, 4.4
    return problem(refused.refusal.status, refused.sentence, headers=headers, **refused.members())
