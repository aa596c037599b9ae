"""The endpoints of the system layer, as the command line calls them."""

import json
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp

from shared.errors import SettingsError, TrelayError
from shared.runtime.redaction import one_line

_TIMEOUT = 600.0
"""Seconds for one call: a comparison reads all that is kept of a topic."""
_CONNECT_TIMEOUT = 15.0
_DETAIL_LIMIT = 1000


@dataclass(frozen=True, slots=True)
class SystemAddress:
    """How to reach a replica of the system layer."""

    url: str
    token: str | None
    ssl_context: ssl.SSLContext | None


class SystemClient:
    """Calls the endpoints of one replica."""

    def __init__(self, address: SystemAddress, session: aiohttp.ClientSession) -> None:
        self._url = address.url.rstrip("/")
        self._session = session

    @classmethod
    @asynccontextmanager
    async def opened(cls, address: SystemAddress) -> AsyncIterator["SystemClient"]:
        """Provide a client; it connects at its first call."""
        headers = {} if address.token is None else {"Authorization": f"Bearer {address.token}"}
        connector = (
            aiohttp.TCPConnector() if address.ssl_context is None else aiohttp.TCPConnector(ssl=address.ssl_context)
        )
        timeout = aiohttp.ClientTimeout(total=_TIMEOUT, connect=_CONNECT_TIMEOUT)
        async with aiohttp.ClientSession(headers=headers, timeout=timeout, connector=connector) as session:
            yield cls(address, session)

    async def sources(self) -> Mapping[str, Any]:
        """Return all sources by name. Raises `TrelayError`."""
        found: Mapping[str, Any] = await self._call("GET", "/sources")
        return found

    async def source(self, name: str) -> Mapping[str, Any]:
        """Return one source. Raises `TrelayError`."""
        found: Mapping[str, Any] = await self._call("GET", f"/sources/{name}")
        return found

    async def position(self, name: str) -> Mapping[str, Any]:
        """Return the saved position of one source. Raises `TrelayError`."""
        found: Mapping[str, Any] = await self._call("GET", f"/sources/{name}/position")
        return found

    async def windows(self, name: str, hours: int) -> Mapping[str, Any]:
        """Return the counts of one source by hour. Raises `TrelayError`."""
        found: Mapping[str, Any] = await self._call("GET", f"/sources/{name}/windows?hours={hours}")
        return found

    async def ask(self, name: str, action: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """Ask something of a source; return the answer. Raises `TrelayError`."""
        answer: Mapping[str, Any] = await self._call("POST", f"/sources/{name}/{action}", body)
        return answer

    async def _call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        try:
            async with self._session.request(method, self._url + path, json=body, allow_redirects=False) as answer:
                return _parsed(self._url, answer.status, await answer.read())
        except aiohttp.InvalidURL as exc:
            raise SettingsError(f"--url: found {self._url!r}; expected http://host:port") from exc
        except (aiohttp.ClientError, TimeoutError, OSError) as exc:
            reason = str(exc) or "no answer in time"
            raise TrelayError(f"{self._url}: {reason}; expected a replica of the system layer (--url)") from exc


def _parsed(url: str, status: int, body: bytes) -> Any:
    try:
        found = json.loads(body)
    except ValueError:
        found = None
    if status >= 300:  # noqa: PLR2004 -- HTTP: neither done nor accepted
        detail = found.get("detail") if isinstance(found, dict) else None
        text = one_line(str(detail or body[:_DETAIL_LIMIT].decode(errors="replace")))[:_DETAIL_LIMIT]
        raise TrelayError(f"{url} answered {status}: {text}")
    if not isinstance(found, dict):
        raise TrelayError(f"{url} is no system layer of Trelay: it answered no JSON object")
    return found
