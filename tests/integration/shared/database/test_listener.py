import asyncio
from collections.abc import Callable

import asyncpg
import psutil
import pytest

from services.standalone.embedded.postgres import PostgresServer
from shared.database.listener import Listener
from shared.database.options import DatabaseOptions
from shared.errors import Unavailable

PATIENCE = 20.0


class Ear:
    """What was heard, in order, and what is wrong now."""

    def __init__(self) -> None:
        self.heard: list[str | None] = []
        self.problem: str | None = "never told"
        self._told = asyncio.Event()

    def hear(self, payload: str | None) -> None:
        self.heard.append(payload)
        self._told.set()

    def tell(self, problem: str | None) -> None:
        self.problem = problem
        self._told.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not condition():
                self._told.clear()
                await self._told.wait()


async def say(dsn: str, channel: str, payload: str) -> None:
    connection = await asyncpg.connect(dsn)
    await connection.execute("SELECT pg_notify($1, $2)", channel, payload)
    await connection.close()


async def test_each_channel_has_its_ear_and_begins_with_none(database: str) -> None:
    left, right = Ear(), Ear()
    async with Listener.opened(DatabaseOptions(url=database), {"left": left.hear, "right": right.hear}):
        await right.until(lambda: right.heard == [None])
        await say(database, "left", "a")
        await say(database, "right", "b")
        await right.until(lambda: right.heard == [None, "b"])
        assert left.heard == [None, "a"]


async def test_what_is_said_is_heard_by_others_and_here(database: str) -> None:
    here, there = Ear(), Ear()
    options = DatabaseOptions(url=database)
    async with Listener.opened(options, {"c": here.hear}) as listener, Listener.opened(options, {"c": there.hear}):
        await here.until(lambda: here.heard == [None])
        await there.until(lambda: there.heard == [None])
        await asyncio.gather(*(listener.say("c", str(number)) for number in range(20)))
        said = [None, *(str(number) for number in range(20))]
        await there.until(lambda: there.heard == said)
        assert here.heard == said


async def test_nobody_is_told_while_there_is_no_connection() -> None:
    async with Listener.opened(DatabaseOptions(url="postgresql://trelay@127.0.0.1:1/trelay"), {}) as listener:
        with pytest.raises(Unavailable):
            await listener.say("c", "a")


async def test_one_that_is_interrupted_while_it_speaks_listens_again(own_postgres: PostgresServer) -> None:
    ear = Ear()
    async with Listener.opened(DatabaseOptions(url=own_postgres.dsn()), {"c": ear.hear}) as listener:
        await ear.until(lambda: ear.heard == [None])
        processes = psutil.Process(own_postgres.pid).children()
        for process in processes:
            process.suspend()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await listener.say("c", "lost, or late")
        for process in processes:
            process.resume()
        await ear.until(lambda: ear.heard.count(None) == 2)
        await listener.say("c", "again")
        await ear.until(lambda: ear.heard[-1] == "again")


async def test_after_an_outage_everybody_is_told_that_something_may_be_missed(own_postgres: PostgresServer) -> None:
    ear = Ear()
    options = DatabaseOptions(url=own_postgres.dsn())
    async with Listener.opened(options, {"c": ear.hear}, ear.tell):
        await ear.until(lambda: ear.heard == [None])
        assert ear.problem is None
        await asyncio.to_thread(own_postgres.kill)
        await ear.until(lambda: ear.problem is not None)
        assert str(ear.problem).startswith(options.place)
        assert ear.heard == [None]
        await asyncio.to_thread(own_postgres.start)
        await ear.until(lambda: ear.heard == [None, None])
        assert ear.problem is None
        await say(own_postgres.dsn(), "c", "again")
        await ear.until(lambda: ear.heard[-1] == "again")


async def test_a_server_that_is_not_there_yet_is_said_and_waited_for(own_postgres: PostgresServer) -> None:
    await asyncio.to_thread(own_postgres.stop)
    ear = Ear()
    async with Listener.opened(DatabaseOptions(url=own_postgres.dsn()), {"c": ear.hear}, ear.tell):
        await ear.until(lambda: ear.problem not in {None, "never told"})
        await asyncio.to_thread(own_postgres.start)
        await ear.until(lambda: ear.heard == [None])


async def test_an_error_that_nobody_foresaw_does_not_end_the_listening(database: str) -> None:
    ear, faults = Ear(), [ZeroDivisionError()]

    def hear(payload: str | None) -> None:
        if faults:
            raise faults.pop()
        ear.hear(payload)

    async with Listener.opened(DatabaseOptions(url=database), {"c": hear}, ear.tell):
        await ear.until(lambda: ear.heard == [None])
        assert ear.problem is None
        await say(database, "c", "a")
        await ear.until(lambda: ear.heard == [None, "a"])
