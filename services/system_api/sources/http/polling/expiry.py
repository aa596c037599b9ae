"""Whether an API says that it knows a cursor no longer: APIs keep changes, and what leads to them, for a while. No I/O.

410 says so (Google's sync tokens, the delta links of Microsoft Graph, Kubernetes). Others answer with an error of the
client that names the cursor, or what a cursor is called: `{"error": "invalid_cursor"}`, `No such event: 'evt_1'`.
"""

import re
from http import HTTPStatus

_REFUSALS = {HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT, HTTPStatus.UNPROCESSABLE_ENTITY}
_CURSOR = rb"cursor|(?:sync|delta|page|continuation|resume)[ _-]?(?:token|link|id)|resync|full[ _-]?sync"
_GONE = rb"invalid|expired?|unknown|not[ _-]?found|no[ _-]?such|no longer|too[ _-]?old|gone|required|unrecogni[sz]ed"
_NAMED = re.compile(_CURSOR, re.IGNORECASE)
_SAID = re.compile(_GONE, re.IGNORECASE)
_DISTINCT = 6
"""Characters from which on a cursor in a response can be no coincidence."""


def is_expired(status: int | None, body: bytes, cursor: str) -> bool:
    """Whether a response of this status refuses the request because of its cursor; `body` is its beginning."""
    if status == HTTPStatus.GONE:
        return True
    if status not in _REFUSALS:
        return False
    return _names(body, cursor) and _SAID.search(body) is not None


def _names(body: bytes, cursor: str) -> bool:
    if _NAMED.search(body) is not None:
        return True
    # An error page may repeat the URL of the request.
    distinct = len(cursor) >= _DISTINCT and not {"/", "?"} & set(cursor)
    return distinct and re.search(rb"(?<![=/])" + re.escape(cursor.encode()), body) is not None
