"""How far a replica lags, by what its server tells."""

from types import SimpleNamespace
from typing import Any

import pytest

from services.system_api.sources.table.mysql.replica import STANDBY, ReplicaLag
from shared.errors import Unauthorized
from shared.runtime.clock import SystemClock


class Server:
    """Stands in for the connection to a server."""

    def __init__(self, *behind: float | None, standby: int = 1, column: str = "Seconds_Behind_Master") -> None:
        self.behind, self.standby, self.column = behind, standby, column
        self.opened = 0
        self.on_mariadb, self.version = True, (10, 11)
        self.asked: list[str] = []
        self.refuses = False

    async def fetch(self, statement: str) -> list[Any]:
        self.opened = max(self.opened, 1)
        self.asked.append(statement)
        if statement == STANDBY:
            return [(self.standby,)]
        if self.refuses:
            raise Unauthorized("no")
        return [SimpleNamespace(_mapping={"Other": 1, self.column: each}) for each in self.behind]


class SetClock(SystemClock):
    """A clock that a test sets; each look takes a second."""

    def __init__(self) -> None:
        self.at = 100.0

    def monotonic(self) -> float:
        return self.at


def looking() -> tuple[ReplicaLag, SetClock]:
    clock = SetClock()
    return ReplicaLag("s", clock), clock


async def lag_of(server: Server, lag: ReplicaLag, clock: SetClock) -> float | None:
    connection: Any = server
    clock.at += 1
    return await lag.seconds(connection)


@pytest.mark.parametrize(
    ("behind", "lag"), [([], 0.0), ([0], 0.0), ([7], 7.0), ([7, 3], 7.0), ([None], None), ([7, None], None)]
)
async def test_the_lag_is_that_behind_the_primary_that_is_furthest_ahead(
    behind: list[float | None], lag: float | None
) -> None:
    server, look = Server(*behind), looking()
    await lag_of(server, *look)
    assert await lag_of(server, *look) == lag


async def test_a_primary_is_asked_once_for_each_connection() -> None:
    server, look = Server(9, standby=0), looking()
    assert [await lag_of(server, *look) for _ in range(3)] == [0.0] * 3
    assert server.asked == [STANDBY]
    server.opened, server.standby = 2, 1
    assert [await lag_of(server, *look) for _ in range(2)] == [None, 9.0]


async def test_a_replica_that_does_not_replicate_is_a_problem_until_it_does() -> None:
    server, (lag, clock) = Server(None), looking()
    assert await lag_of(server, lag, clock) is None
    assert "does not run" in (lag.problem or "")
    server.behind = (0,)
    assert await lag_of(server, lag, clock) is None, "it may not have looked yet at what it has to catch up"
    assert lag.problem is None
    assert await lag_of(server, lag, clock) == 0.0


async def test_an_account_that_may_not_look_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    server, look = Server(5), looking()
    server.refuses = True
    assert [await lag_of(server, *look) for _ in range(3)] == [0.0] * 3
    assert len(server.asked) == 2
    assert caplog.messages == ["cannot see how far the replica lags; overlap must be longer"]


@pytest.mark.parametrize(
    ("mariadb", "version", "statement", "column"),
    [
        (True, (10, 5), "SHOW ALL SLAVES STATUS", "Seconds_Behind_Master"),
        (False, (8, 0), "SHOW SLAVE STATUS", "Seconds_Behind_Master"),
        (False, (8, 4), "SHOW REPLICA STATUS", "Seconds_Behind_Source"),
        (False, (9, 1), "SHOW REPLICA STATUS", "Seconds_Behind_Source"),
    ],
)
async def test_each_server_has_its_statement(
    mariadb: bool, version: tuple[int, int], statement: str, column: str
) -> None:
    server = Server(4, column=column)
    server.on_mariadb, server.version = mariadb, version
    look = looking()
    assert [await lag_of(server, *look) for _ in range(2)] == [None, 4.0]
    assert server.asked == [STANDBY, statement, statement]
