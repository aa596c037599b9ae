import asyncio
import logging
from collections.abc import Callable

import asyncpg
import psutil
import pytest

from services.standalone.embedded.postgres import PostgresServer
from shared.database.listener import Listener
from shared.database.options import DatabaseOptions
from shared.errors import Unavailable

TIMEOUT = 60.0


class Receiver:
    """The notifications in their order, and the last problem."""

    def __init__(self) -> None:
        self.received: list[str | None] = []
        self.problem: str | None = "not reported yet"
        self._changed = asyncio.Event()

    def handle(self, payload: str | None) -> None:
        self.received.append(payload)
        self._changed.set()

    def on_use(self, problem: str | None) -> None:
        self.problem = problem
        self._changed.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(TIMEOUT):
            while not condition():
                self._changed.clear()
                await self._changed.wait()


async def notify(dsn: str, channel: str, payload: str) -> None:
    connection = await asyncpg.connect(dsn)
    await connection.execute("SELECT pg_notify($1, $2)", channel, payload)
    await connection.close()


async def test_each_channel_has_its_handler_and_begins_with_none(database: str) -> None:
    left, right = Receiver(), Receiver()
    async with Listener.opened(DatabaseOptions(url=database), {"left": left.handle, "right": right.handle}):
        await right.until(lambda: right.received == [None])
        await notify(database, "left", "a")
        await notify(database, "right", "b")
        await right.until(lambda: right.received == [None, "b"])
        assert left.received == [None, "a"]


async def test_a_notification_reaches_the_others_and_its_own_listener(database: str) -> None:
    here, there = Receiver(), Receiver()
    options = DatabaseOptions(url=database)
    async with (
        Listener.opened(options, {"c": here.handle}) as listener,
        Listener.opened(options, {"c": there.handle}),
    ):
        await here.until(lambda: here.received == [None])
        await there.until(lambda: there.received == [None])
        await asyncio.gather(*(listener.notify("c", str(number)) for number in range(20)))
        expected = [None, *(str(number) for number in range(20))]
        await there.until(lambda: there.received == expected)
        assert here.received == expected


async def test_no_notification_is_sent_without_a_connection() -> None:
    async with Listener.opened(DatabaseOptions(url="postgresql://trelay@127.0.0.1:1/trelay"), {}) as listener:
        with pytest.raises(Unavailable):
            await listener.notify("c", "a")


async def test_a_listener_that_is_interrupted_while_it_notifies_listens_again(own_postgres: PostgresServer) -> None:
    receiver = Receiver()
    async with Listener.opened(DatabaseOptions(url=own_postgres.dsn()), {"c": receiver.handle}) as listener:
        await receiver.until(lambda: receiver.received == [None])
        processes = psutil.Process(own_postgres.pid).children()
        for process in processes:
            process.suspend()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await listener.notify("c", "lost, or late")
        for process in processes:
            process.resume()
        await receiver.until(lambda: receiver.received.count(None) == 2)
        await listener.notify("c", "again")
        await receiver.until(lambda: receiver.received[-1] == "again")


async def test_after_an_outage_handlers_learn_that_notifications_may_be_missed(
    own_postgres: PostgresServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "shared.database.listener")
    receiver = Receiver()
    options = DatabaseOptions(url=own_postgres.dsn())
    async with Listener.opened(options, {"c": receiver.handle}, receiver.on_use):
        await receiver.until(lambda: receiver.received == [None])
        assert receiver.problem is None
        await asyncio.to_thread(own_postgres.kill)
        await receiver.until(lambda: "connection refused" in str(receiver.problem))  # it has tried to reconnect
        assert str(receiver.problem).startswith(options.address)
        assert receiver.received == [None]
        await asyncio.to_thread(own_postgres.start)
        await receiver.until(lambda: receiver.received == [None, None])
        assert receiver.problem is None
        await notify(own_postgres.dsn(), "c", "again")
        await receiver.until(lambda: receiver.received[-1] == "again")
    begin, end = [line for line in caplog.records if line.name == "shared.database.listener"]
    assert begin.getMessage() == "lost LISTEN connection; polling until reconnected"
    assert begin.__dict__["error"].startswith(options.address)
    assert end.getMessage() == "LISTEN connection restored"
    assert end.__dict__["after_s"] > 0
    assert begin.__dict__["channels"] == end.__dict__["channels"] == ["c"]


async def test_a_server_that_is_not_up_yet_is_a_problem_until_it_is(own_postgres: PostgresServer) -> None:
    await asyncio.to_thread(own_postgres.stop)
    receiver = Receiver()
    async with Listener.opened(DatabaseOptions(url=own_postgres.dsn()), {"c": receiver.handle}, receiver.on_use):
        await receiver.until(lambda: receiver.problem not in {None, "not reported yet"})
        await asyncio.to_thread(own_postgres.start)
        await receiver.until(lambda: receiver.received == [None])


async def test_an_unexpected_error_does_not_end_the_listener(database: str) -> None:
    receiver, faults = Receiver(), [ZeroDivisionError()]

    def handle(payload: str | None) -> None:
        if faults:
            raise faults.pop()
        receiver.handle(payload)

    async with Listener.opened(DatabaseOptions(url=database), {"c": handle}, receiver.on_use):
        await receiver.until(lambda: receiver.received == [None])
        assert receiver.problem is None
        await notify(database, "c", "a")
        await receiver.until(lambda: receiver.received == [None, "a"])
