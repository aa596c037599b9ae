"""The endpoints for operators of a service, as the command line calls them."""

import json
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypeVar

import aiohttp
import click

from services.cli.tls import ca_context
from services.cli.tokens import sendable
from shared.errors import SettingsError, TrelayError
from shared.http.client.reasons import reason_of
from shared.runtime.redaction import one_line

_TIMEOUT = 600.0
"""Seconds for one call: a comparison reads all that is kept of a topic."""
_CONNECT_TIMEOUT = 15.0
_DETAIL_LIMIT = 1000
F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class ServiceAddress:
    """How to reach a replica of a service."""

    url: str
    token: str | None
    ssl_context: ssl.SSLContext | None

    @classmethod
    def given(cls, url: str, token: str | None, ca_file: Path | None) -> Self:
        """Return what the options of `address_options` say.

        Raises:
            SettingsError: the file contains no certificates.
        """
        return cls(url, token, ca_context(ca_file))


def address_options(variable: str, url: str, service: str) -> Callable[[F], F]:
    """Add the options that name a replica; `variable` and `url` are the defaults of its address."""

    def add(command: F) -> F:
        for option in (
            click.option("--json", "as_json", is_flag=True, help="Print JSON."),
            click.option("--ca-file", type=click.Path(path_type=Path, exists=True, dir_okay=False),
                         help="CA bundle (PEM) for the server certificate."),
            click.option("--token", envvar="TRELAY_OPERATOR_TOKEN", show_envvar=True, callback=sendable,
                         help="The token of an operator. Other users of the machine can see an option."),
            click.option("--url", envvar=variable, show_envvar=True, default=url, show_default=True,
                         help=f"The address of a replica of the {service}."),
        ):  # fmt: skip
            command = option(command)
        return command

    return add


class ServiceClient:
    """Calls the endpoints of one replica."""

    service = "service"
    """What is expected there, for errors."""

    def __init__(self, address: ServiceAddress, session: aiohttp.ClientSession) -> None:
        self._url = address.url.rstrip("/")
        self._session = session

    @classmethod
    @asynccontextmanager
    async def opened(cls, address: ServiceAddress) -> AsyncIterator[Self]:
        """Provide a client; it connects at its first call."""
        headers = {} if address.token is None else {"Authorization": f"Bearer {address.token}"}
        connector = (
            aiohttp.TCPConnector() if address.ssl_context is None else aiohttp.TCPConnector(ssl=address.ssl_context)
        )
        timeout = aiohttp.ClientTimeout(total=_TIMEOUT, connect=_CONNECT_TIMEOUT)
        async with aiohttp.ClientSession(headers=headers, timeout=timeout, connector=connector) as session:
            yield cls(address, session)

    async def call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Mapping[str, Any]:
        """Return the JSON object of an answer. Raises `TrelayError`."""
        content = None if body is None else json.dumps(body).encode()
        found: Mapping[str, Any] = json.loads(await self.call_raw(method, path, content))
        return found

    async def call_raw(self, method: str, path: str, body: bytes | None = None) -> bytes:
        """Return the bytes of an answer, a JSON object. Raises `TrelayError`."""
        headers = {} if body is None else {"Content-Type": "application/json"}
        url = self._url + path
        try:
            async with self._session.request(method, url, data=body, headers=headers, allow_redirects=False) as answer:
                return checked(self._url, self.service, answer.status, await answer.read())
        except aiohttp.InvalidURL as exc:
            raise SettingsError(f"--url: found {self._url!r}; expected http://host:port") from exc
        except (aiohttp.ClientError, TimeoutError, OSError) as exc:
            why = reason_of(exc) or "no answer in time"
            raise TrelayError(f"{self._url}: {why}; expected a replica of the {self.service} (--url)") from exc


def checked(url: str, service: str, status: int, body: bytes) -> bytes:
    """Return the body of an answer that says that it is done or accepted. Raises `TrelayError` for any other."""
    try:
        found = json.loads(body)
    except ValueError:
        found = None
    if status >= 300:  # noqa: PLR2004 -- HTTP: neither done nor accepted
        detail = found.get("detail") if isinstance(found, dict) else None
        text = one_line(str(detail or body[:_DETAIL_LIMIT].decode(errors="replace")))[:_DETAIL_LIMIT]
        raise TrelayError(f"{url} answered {status}: {text}")
    if not isinstance(found, dict):
        raise TrelayError(f"{url} is no {service} of Trelay: it answered no JSON object")
    return body
