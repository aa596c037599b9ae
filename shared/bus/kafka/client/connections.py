"""Connections to brokers."""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

from aiokafka.conn import AIOKafkaConnection, CloseReason, create_conn
from aiokafka.errors import KafkaConnectionError, KafkaError

from shared.bus.kafka.client.errors import LOST_CONNECTION

_IDLE_LIMIT_MS = 540_000  # below the brokers' ten minutes, so that no broker closes a connection during a request


class Broker(NamedTuple):
    """The address of a broker."""

    host: str
    port: int


class BrokerConnections:
    """One connection to each broker, opened at its first use and again after it was lost."""

    def __init__(self, arguments: Callable[[], Mapping[str, Any]]) -> None:
        """`arguments` returns those of aiokafka's `create_conn` for the next connection."""
        self._arguments = arguments
        self._open: dict[Broker, AIOKafkaConnection] = {}
        self._opening: dict[Broker, asyncio.Lock] = {}
        self._connecting: dict[Broker, asyncio.Timeout] = {}
        self._failed: dict[Broker, float] = {}
        self._closed = False

    async def send(self, broker: Broker, request: Any) -> Any:
        """Send a request and return the response. A broker answers the requests of one connection in their order.

        Raises:
            One of `LOST_CONNECTION`: it is not known whether the broker has processed the request.
        """
        connection = await self._connected(broker)
        try:
            with _closed_transport(broker):
                response = connection.send(request)
        except KafkaConnectionError:
            connection.close(reason=CloseReason.CONNECTION_BROKEN)
            raise
        try:
            return await response
        except TimeoutError:
            connection.close(reason=CloseReason.CONNECTION_TIMEOUT)
            raise

    def drop(self, broker: Broker) -> None:
        """Close the connection to one broker, or stop opening it; requests without a response fail."""
        connecting = self._connecting.pop(broker, None)
        if connecting is not None:
            connecting.reschedule(asyncio.get_running_loop().time())
        connection = self._open.pop(broker, None)
        if connection is not None:
            connection.close(reason=CloseReason.SHUTDOWN)

    async def close(self) -> None:
        """Close all connections, for good; requests without a response fail."""
        self._closed = True
        ending = [connection.close(reason=CloseReason.SHUTDOWN) for connection in self._open.values()]
        self._open.clear()
        await asyncio.gather(*ending)

    async def _connected(self, broker: Broker) -> AIOKafkaConnection:
        connection = self._open.get(broker)
        if connection is not None and connection.connected():
            return connection
        now = asyncio.get_running_loop().time
        asked = now()
        async with self._opening.setdefault(broker, asyncio.Lock()):
            connection = self._open.get(broker)
            if connection is not None and connection.connected():
                return connection
            if self._failed.get(broker, -1.0) >= asked:
                # Another caller has just failed: with an attempt each, the last caller would wait for many timeouts.
                raise KafkaConnectionError(f"no connection to {broker.host}:{broker.port}")
            try:
                async with asyncio.timeout(None) as self._connecting[broker]:
                    with _closed_transport(broker):
                        connection = await create_conn(*broker, max_idle_ms=_IDLE_LIMIT_MS, **self._arguments())
            except LOST_CONNECTION:
                self._failed[broker] = now()
                raise
            finally:
                self._connecting.pop(broker, None)
            if self._closed:
                # The task that sends was cancelled, and `asyncio.wait_for` lost that (Python 3.11).
                connection.close(reason=CloseReason.SHUTDOWN)
                raise KafkaConnectionError(f"the connections to {broker.host}:{broker.port} are closed")
            self._open[broker] = connection
            return connection


@contextmanager
def _closed_transport(broker: Broker) -> Iterator[None]:
    """Raise `KafkaConnectionError` where a transport has just closed, which aiokafka learns in a later callback.

    asyncio ignores a write to such a transport; uvloop raises `RuntimeError`, of which `KafkaError` is a subclass.
    """
    try:
        yield
    except KafkaError:
        raise
    except RuntimeError as exc:
        raise KafkaConnectionError(f"the connection to {broker.host}:{broker.port} is closed: {exc}") from exc
