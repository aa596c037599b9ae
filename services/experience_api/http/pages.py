"""Which pages in browsers may use the service: cross-origin requests (CORS, the Fetch standard), and upgrades.

A browser names the origin of the page in the header `Origin`. A page cannot forge it, other programs can: this protects
the users of browsers, and authenticates nobody.
"""

import re
from collections.abc import Iterable
from typing import Annotated
from urllib.parse import urlsplit

from aiohttp import web

from services.experience_api.refusals import MALFORMED, ORIGIN_NOT_ALLOWED, Refused
from shared.settings import Form

ANY = "*"
# Which control characters `\s` matches depends on the dialect of regular expressions, so they are listed.
ORIGIN_PATTERN = r"^[Hh][Tt][Tt][Pp][Ss]?://[^\s\u0000-\u001f\u007f-\u00a0\ufeff/?#@*]+$"
_ORIGIN = re.compile(ORIGIN_PATTERN)
PageOrigin = Annotated[
    str, Form(r"^(\*|https?://[^\s/?#@*]+)$", "an origin, such as 'https://app.example.com', or '*'")
]

_PATHS = frozenset({"/consumers", "/tickets", "/subscriptions", "/sse/publish", "/events"})
_ANSWER = {"Access-Control-Expose-Headers": "Retry-After, WWW-Authenticate, Allow"}
_PREFLIGHT = {
    "Access-Control-Allow-Methods": "GET, POST, DELETE",
    "Access-Control-Allow-Headers": "Authorization, Content-Type, Last-Event-ID, Client-Id, Client-Secret, token",
    "Access-Control-Max-Age": "600",
}


class Pages:
    """The pages that may use the service."""

    def __init__(self, allowed: Iterable[str] | None) -> None:
        """`allowed` are their origins. None lets every page connect that has a token, and answers no page otherwise."""
        self._allowed = None if allowed is None else frozenset(origin.lower() for origin in allowed)

    def check(self, request: web.BaseRequest) -> None:
        """Refuse the pages that may not use the service.

        Raises:
            Refused: `ORIGIN_NOT_ALLOWED`.
        """
        page = request.headers.get("Origin", "").lower()
        if self._allowed is not None and page and not self._allows(page) and not _is_own(request, page):
            raise Refused(ORIGIN_NOT_ALLOWED, f"header 'Origin': found {page[:80]!r}, not in `experience.origins`")

    def bound(self, request: web.BaseRequest) -> str:
        """Return the origin of the pages that a ticket is for: of the parameter `origin`, else of the page that asks.

        Raises:
            Refused: `MALFORMED`, `ORIGIN_NOT_ALLOWED`.
        """
        self.check(request)
        given = request.query.get("origin")
        place, page = ("header", request.headers.get("Origin", "")) if given is None else ("query parameter", given)
        # An empty parameter is often a variable that is not set: it must not mean any page.
        if (page or given is not None) and not _ORIGIN.fullmatch(page):
            raise Refused(MALFORMED, f"{place} 'origin': found {page[:80]!r}; expected a scheme and a host")
        return page.lower()

    async def add_headers(self, request: web.Request, response: web.StreamResponse) -> None:
        """Let an allowed page read a response: a handler of the signal `on_response_prepare`."""
        page = request.headers.get("Origin", "")
        if self._allowed is None or not page or request.path not in _PATHS:
            return
        response.headers.add("Vary", "Origin")
        if not self._allows(page.lower()):
            return
        response.headers.update({"Access-Control-Allow-Origin": page, **_ANSWER})
        if request.method == "OPTIONS":
            response.headers.update(_PREFLIGHT)

    def _allows(self, page: str) -> bool:
        return self._allowed is not None and (ANY in self._allowed or page in self._allowed)


def _is_own(request: web.BaseRequest, page: str) -> bool:
    """Return whether a page comes from this service's own host, such as one behind the same proxy."""
    return urlsplit(page).netloc == request.headers.get("Host", "").lower()
