"""The connection to Redis; the one module that knows redis-py's errors."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, cast

import redis
from redis.asyncio import Redis
from redis.asyncio.connection import Connection, ConnectionPool, SSLConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.driver_info import DriverInfo
from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    NoPermissionError,
    RedisError,
    ResponseError,
)

from services.system_api.sources.queue.closing import surely_closed
from services.system_api.sources.queue.redis.entries import entries_of
from services.system_api.sources.queue.redis.options import RedisSourceOptions
from shared.errors import Unauthorized, Unavailable, underlying_reason
from shared.runtime.tls_errors import certificate_problem

__all__ = ["Redis", "ResponseError", "connected", "redis_errors"]

_DRIVER = DriverInfo(lib_version=redis.__version__)
"""By default, each connection looks for the version on disk."""
_UNAUTHORIZED = ("WRONGPASS", "NOAUTH", "invalid username-password")


@contextmanager
def redis_errors(options: RedisSourceOptions) -> Iterator[None]:
    """Translate the errors of redis-py."""
    place = f"Redis at {options.host}:{options.port}"
    try:
        yield
    except (AuthenticationError, AuthorizationError) as exc:
        raise Unauthorized(
            f"{place} refuses user {options.user or 'default'!r}: {exc}; set `url` and `password` to an account of this"
            " server"
        ) from exc
    except NoPermissionError as exc:
        raise Unauthorized(
            f"{place}: user {options.user or 'default'!r} may not read {options.in_words}: {exc}"
        ) from exc
    except TimeoutError as exc:
        raise Unavailable(f"{place} did not answer within {options.connect_timeout:g} s") from exc
    except (RedisError, OSError) as exc:
        if any(each in str(exc) for each in _UNAUTHORIZED):
            raise Unauthorized(f"{place} refuses the credentials: {exc}; set `url` and `password`") from exc
        problem = certificate_problem(exc, anonymous=options.anonymous) or underlying_reason(exc)
        raise Unavailable(f"{place}: {problem or str(exc) or type(exc).__name__}") from exc


@asynccontextmanager
async def connected(options: RedisSourceOptions, name: str) -> AsyncIterator[Redis]:
    """Connect for as long as the context lasts.

    Raises:
        Unavailable: the server does not answer.
        Unauthorized: it refuses the credentials.
        SettingsError: a certificate file cannot be used.
    """
    opening = _connect(options, name)
    async with surely_closed("connection to Redis", opening, lambda client: client.aclose()) as client:
        yield client


async def _connect(options: RedisSourceOptions, name: str) -> Redis:
    context = await asyncio.to_thread(options.tls_context)
    arguments: dict[str, Any] = {
        "host": options.host,
        "port": options.port,
        "db": options.database,
        "username": options.user,
        "password": options.secret,
        "socket_timeout": options.connect_timeout,
        "socket_connect_timeout": options.connect_timeout,
        "client_name": f"trelay-source-{name}",
        "driver_info": _DRIVER,
        "protocol": 2,
        "retry": Retry(NoBackoff(), 0),  # the source retries
    }
    if context is not None:
        arguments |= {"connection_class": _tls_connection(context)}
    client = Redis.from_pool(ConnectionPool(**arguments))
    # That of redis-py keeps the last one of several fields of a name, and does not tell.
    client.set_response_callback("XREADGROUP", cast("Any", entries_of))
    with redis_errors(options):
        try:
            async with asyncio.timeout(options.connect_timeout):
                await client.ping()
        except BaseException:
            await client.aclose()
            raise
    return client


def _tls_connection(context: Any) -> type[Connection]:
    """Return a class of connections that use this TLS context; redis-py makes its own from files only."""

    class Secured(SSLConnection):
        def _connection_arguments(self) -> dict[str, Any]:
            return {"host": self.host, "port": self.port, "ssl": context}

    return Secured
