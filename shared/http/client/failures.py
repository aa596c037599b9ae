"""What goes wrong with a request, as errors of Trelay, which name the URL and the beginning of the response."""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager

import aiohttp
from yarl import URL

from shared.errors import SettingsError, TrelayError, Unavailable
from shared.http.client.connecting import RedirectNotFollowed, refused_address
from shared.http.client.reasons import reason_of
from shared.runtime.redaction import one_line, redact

HEAD_BYTES = 2048
"""Bytes of a response that an error reads."""
_SHOWN = 200
"""Characters of a response that an error shows."""


class UnusableResponse(TrelayError):
    """The API answered, and the answer cannot be used. A retry gives the same."""

    def __init__(self, text: str, status: int | None = None, body: bytes = b"") -> None:
        """`status` is that of the response, where it alone is the reason; `body` is the beginning of what it said."""
        super().__init__(text)
        self.status = status
        self.body = body


class RateLimited(Unavailable):
    """The API refuses requests for a while."""


def head(body: bytes) -> str:
    """Return the beginning of a body, for an error."""
    text = redact(" ".join(body[:HEAD_BYTES].decode(errors="replace").split()))
    if not text:
        return "an empty body"
    return f"{one_line(text[:_SHOWN])!r}{'…' if len(text) > _SHOWN else ''}"


@contextmanager
def translated(what: str, timeout: float) -> Iterator[None]:
    """Let no error of aiohttp pass; `what` names the request.

    Raises:
        Unavailable: no answer, or not the whole of it.
        SettingsError: the address is not allowed, or the certificate is not trusted.
        UnusableResponse: the answer is not HTTP, or a redirect that is not followed.
    """
    try:
        yield
    except RedirectNotFollowed as exc:
        raise UnusableResponse(f"{what}: {exc}") from exc
    except aiohttp.ClientConnectorCertificateError as exc:
        raise SettingsError(f"{what}: {reason_of(exc)}") from exc
    except (aiohttp.ServerTimeoutError, TimeoutError) as exc:
        raise Unavailable(f"{what}: no answer within {timeout:g} s") from exc
    except (aiohttp.ClientError, OSError, ssl.SSLError) as exc:
        if (refused := refused_address(exc)) is not None:
            raise SettingsError(f"{what}: {refused.strerror}") from exc
        if isinstance(exc, aiohttp.InvalidURL):
            raise UnusableResponse(f"{what}: not a valid URL") from exc
        raise Unavailable(f"{what}: {reason_of(exc) or type(exc).__name__}") from exc


def shown(url: URL, hidden: str | None) -> str:
    """Return a URL as errors show it, without the query parameter `hidden`."""
    return redact(str(url if hidden is None else url.without_query_params(hidden)))
