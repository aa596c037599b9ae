"""Asks the replicas of a deployment how they are."""

import asyncio
import json
import ssl
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp

from services.cli.status.exposition import Samples
from services.cli.status.overview import Answer
from shared.errors import Malformed
from shared.http.client.beginning import beginning
from shared.http.client.reasons import reason_of
from shared.runtime.redaction import one_line

_TIMEOUT = 5.0
_SIZE_LIMIT = 16 * 1_048_576
_DETAIL_LIMIT = 200


@dataclass(frozen=True, slots=True)
class Address:
    """Where one replica listens."""

    url: str
    health_url: str
    """Where `/readyz` and `/metrics` are: the same, or a listener of its own."""
    guessed: bool = False


async def collect(addresses: Iterable[Address], token: str | None, ssl_context: ssl.SSLContext | None) -> list[Answer]:
    """Ask every address at the same time; one that does not answer has its reason in its answer."""
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    timeout = aiohttp.ClientTimeout(total=_TIMEOUT)
    connector = aiohttp.TCPConnector(ssl=True if ssl_context is None else ssl_context)
    async with aiohttp.ClientSession(timeout=timeout, connector=connector) as session:
        return list(await asyncio.gather(*(_ask(session, address, headers) for address in addresses)))


async def _ask(session: aiohttp.ClientSession, address: Address, headers: Mapping[str, str]) -> Answer:
    try:
        status, text = await _get(session, f"{address.health_url}/metrics", {})
        if status != 200:  # noqa: PLR2004 -- HTTP
            return _failed(address, f"/metrics answers {status}; expected the listener of health and metrics")
        samples = Samples(text)
        _, ready = await _get(session, f"{address.health_url}/readyz", {})
        # The token goes to the services alone, and not to listeners without authentication.
        refused, (sources, pipelines) = await _shown(session, address.url, headers)
        return Answer(
            address.url,
            ready=_object(ready, "/readyz"),
            samples=samples,
            sources=sources,
            pipelines=pipelines,
            refused=refused,
            guessed=address.guessed,
        )
    except Malformed as exc:
        return _failed(address, str(exc))
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as exc:
        return _failed(address, f"{address.health_url}: {reason_of(exc) or f'no answer within {_TIMEOUT:g} s'}")


def _failed(address: Address, reason: str) -> Answer:
    return Answer(address.url, error=one_line(reason)[:_DETAIL_LIMIT], guessed=address.guessed)


async def _shown(
    session: aiohttp.ClientSession, url: str, headers: Mapping[str, str]
) -> tuple[str | None, tuple[Mapping[str, Any] | None, Mapping[str, Any] | None]]:
    """Return sources and pipelines where the service has them, and why it does not show them.

    It does not without a token, or while its database does not answer: the replica itself has answered.
    """
    try:
        sources = await _operators(session, f"{url}/sources", headers)
        return None, (sources, await _operators(session, f"{url}/pipelines", headers))
    except (_Refused, aiohttp.ClientError, TimeoutError) as exc:
        text = reason_of(exc) or f"{url} shows no sources or pipelines within {_TIMEOUT:g} s"
        return text[:_DETAIL_LIMIT], (None, None)


class _Refused(Exception):
    pass


async def _operators(session: aiohttp.ClientSession, url: str, headers: Mapping[str, str]) -> Mapping[str, Any] | None:
    """Return what an endpoint for operators shows; None from a service that does not have it."""
    status, text = await _get(session, url, headers)
    if status == 404:  # noqa: PLR2004 -- HTTP
        return None
    if status == 200:  # noqa: PLR2004 -- HTTP
        return _object(text, url)
    try:
        found = _object(text, url)
    except Malformed:  # of a proxy, for example
        raise _Refused(f"{url} answers {status}") from None
    raise _Refused(f"{url} answers {status}: {found.get('detail') or found}")


def _object(text: str, place: str) -> Mapping[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise Malformed(f"{place} answers no JSON object; expected a service of Trelay")
    return found


async def _get(session: aiohttp.ClientSession, url: str, headers: Mapping[str, str]) -> tuple[int, str]:
    async with session.get(url, headers=headers, allow_redirects=False) as answer:
        content = await beginning(answer.content, _SIZE_LIMIT)
        return answer.status, content.decode(errors="replace")
