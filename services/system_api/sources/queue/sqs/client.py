"""The client of SQS; the one module that knows aiobotocore and its errors."""

import asyncio
import functools
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from aiobotocore.config import AioConfig
from aiobotocore.session import get_session
from botocore.exceptions import BotoCoreError, ClientError, ConnectTimeoutError, NoCredentialsError, ReadTimeoutError

from services.system_api.sources.queue.address import tls_context
from services.system_api.sources.queue.closing import detached
from services.system_api.sources.queue.sqs.options import SqsSourceOptions
from shared.errors import SettingsError, Unauthorized, Unavailable, underlying_reason
from shared.http.client.connecting import AddressGate, refused_address
from shared.runtime.tls_errors import certificate_problem
from shared.settings import Secret

CONNECTIONS = 16
"""Maximum number of connections of one source."""
_MAKING = threading.Lock()
"""Sessions of botocore are not thread-safe."""
_UNAUTHORIZED = (
    "AccessDenied",
    "AuthFailure",
    "ExpiredToken",
    "InvalidAccessKeyId",
    "InvalidClientTokenId",
    "InvalidSecurity",
    "MissingAuthenticationToken",
    "SignatureDoesNotMatch",
    "UnrecognizedClient",
)


class SqsClient:
    """Sends requests about one queue.

    Each runs in a task of its own, to its end: an interrupted aiohttp loses its connections, or waits without end.
    """

    def __init__(self, client: Any, options: SqsSourceOptions) -> None:
        self._client = client
        self._options = options
        self._unheeded: set[asyncio.Task[Any]] = set()

    @classmethod
    async def open(cls, options: SqsSourceOptions) -> "SqsClient":
        """Make a client; its first request connects.

        Raises:
            Unauthorized: there are no credentials.
            SettingsError: a certificate file cannot be used.
        """
        with sqs_errors(options):
            # The gate belongs to this loop, and not to that of the thread.
            client = await asyncio.to_thread(_make, options, AddressGate(options.rules()))
            await client.__aenter__()
        return cls(client, options)

    async def close(self) -> None:
        """Close its connections, and end the requests whose callers were cancelled: no answer comes any more."""
        await self._client.__aexit__(None, None, None)
        for request in self._unheeded:
            request.cancel()

    async def quiet(self) -> None:
        """Return when those requests have ended whose callers were cancelled."""
        if self._unheeded:
            await asyncio.wait(self._unheeded)

    async def request(self, operation: str, **arguments: Any) -> dict[str, Any]:
        """Send a request, and return the answer.

        Raises:
            Unavailable: SQS does not answer, or the queue does not exist.
            Unauthorized: it refuses the credentials.
            SettingsError: the settings do not allow the address of the endpoint.
        """
        call = getattr(self._client, operation)
        with sqs_errors(self._options):
            answer: dict[str, Any] = await detached(
                "SQS request", call(QueueUrl=self._options.url, **arguments), self._unheeded
            )
        return answer


@contextmanager
def sqs_errors(options: SqsSourceOptions) -> Iterator[None]:
    """Translate the errors of aiobotocore."""
    place = f"{options.in_words} at {options.endpoint}"
    try:
        yield
    except NoCredentialsError as exc:
        raise Unauthorized(
            f"{place}: found no credentials; set `access_key_id` and `secret_access_key`, or give the pod a role"
        ) from exc
    except ClientError as exc:
        code = str(exc.response.get("Error", {}).get("Code", ""))
        if "NonExistentQueue" in code or "QueueDoesNotExist" in code:
            raise Unavailable(
                f"{options.in_words} does not exist at {options.endpoint}; its owner must create it"
            ) from exc
        if any(each in code for each in _UNAUTHORIZED):
            raise Unauthorized(f"{place}: {exc}; set `access_key_id` to a key that may read the queue") from exc
        raise Unavailable(f"{place}: {exc}") from exc
    except (TimeoutError, ConnectTimeoutError, ReadTimeoutError) as exc:
        raise Unavailable(f"{place} did not answer in time") from exc
    except (BotoCoreError, OSError) as exc:
        if (refused := refused_address(exc)) is not None:
            raise SettingsError(f"url: {refused.strerror}") from exc
        raise Unavailable(f"{place}: {certificate_problem(exc) or underlying_reason(exc) or exc}") from exc


@functools.cache
def _session() -> Any:
    """Return the one session, which holds botocore's descriptions: to read them again costs half a second."""
    return get_session()


def _make(options: SqsSourceOptions, gate: AddressGate) -> Any:
    """Make a client, in a thread: the public form would read the descriptions and credentials on the event loop."""
    with _MAKING:
        return asyncio.run(_made(options, gate))


async def _made(options: SqsSourceOptions, gate: AddressGate) -> Any:
    ca_file, certificate = None, None
    if options.tls is not None:
        tls_context(options.tls)  # to name a file that cannot be used
        ca_file = None if options.tls.ca_file is None else str(options.tls.ca_file)
        if options.tls.cert_file is not None:
            certificate = str(options.tls.cert_file), str(options.tls.key_file or options.tls.cert_file)
    config = AioConfig(
        connect_timeout=options.connect_timeout,
        read_timeout=options.connect_timeout + options.long_poll,
        max_pool_connections=CONNECTIONS,
        retries={"total_max_attempts": 1},  # the source retries
        client_cert=certificate,
        connector_args={"resolver": gate, "socket_factory": gate.socket, "use_dns_cache": False},
    )
    return await _session()._create_client(  # noqa: SLF001 -- the public form opens the client as well, on this loop
        "sqs",
        region_name=options.region_name,
        endpoint_url=options.endpoint,
        verify=ca_file,
        aws_access_key_id=options.access_key_id,
        aws_secret_access_key=_text(options.secret_access_key),
        aws_session_token=_text(options.session_token),
        config=config,
    )


def _text(secret: Secret | None) -> str | None:
    return None if secret is None else secret.get_secret_value()
