"""A MariaDB whose settings, or whose statement for each new connection, would alter what a source reads or removes."""

from collections.abc import AsyncIterator

import pytest

from services.system_api.sources.source import Settling
from tests.integration.services.system_api.sources.table.table_poller import TablePoller
from tests.integration.services.system_api.sources.table.upstreams import Upstream, mariadb_database
from tests.servers.mariadb import MariaDb


@pytest.fixture
async def upstream(mariadb: MariaDb) -> AsyncIterator[Upstream]:
    async with mariadb_database(mariadb) as found:
        yield found


@pytest.fixture
async def account(upstream: Upstream, mariadb: MariaDb) -> AsyncIterator[str]:
    """The URL of the database for an account to which the settings of the server apply."""
    _, _, name = upstream.url.rpartition("/")
    user = f"{name[:20]}@'127.0.0.1'"
    await upstream.execute(f"CREATE USER {user}; GRANT ALL ON {name}.* TO {user}; GRANT PROCESS ON *.* TO {user}")
    yield mariadb.url(name, name[:20])
    await upstream.execute(f"DROP USER {user}")


@pytest.fixture
async def hostile(upstream: Upstream) -> AsyncIterator[None]:
    """What the server sets for each session."""
    settings = {"sql_safe_updates": 1, "max_join_size": 1, "sql_select_limit": 1, "init_connect": "'SET NAMES latin1'"}
    before = {name: (await upstream.column(f"SELECT @@GLOBAL.{name}"))[0] for name in settings}
    await upstream.execute("; ".join(f"SET GLOBAL {name} = {value}" for name, value in settings.items()))
    yield
    restored = before | {"init_connect": f"'{before['init_connect']}'"}
    await upstream.execute("; ".join(f"SET GLOBAL {name} = {value}" for name, value in restored.items()))


@pytest.mark.parametrize("published", [None, "done"])
@pytest.mark.usefixtures("hostile")
async def test_an_outbox_is_published_and_removed(upstream: Upstream, account: str, published: str | None) -> None:
    await upstream.execute("CREATE TABLE orders (id bigint AUTO_INCREMENT PRIMARY KEY, v text, done timestamp NULL)")
    await upstream.execute("INSERT INTO orders (v) VALUES ('é€'), ('ü'), ('c')")
    poller = TablePoller(account, mode="outbox", published_column=published, columns=["id", "v"])
    async with poller.opened() as source:
        assert isinstance(source, Settling)
        batch = await source.poll(10)
        poller.save(batch)
        await source.settle(batch)
    assert [event["data"]["v"] for event in poller.events] == ["é€", "ü", "c"]
    assert await upstream.column("SELECT count(*) FROM orders WHERE done IS NULL") == [0]


@pytest.mark.usefixtures("hostile")
async def test_values_are_unchanged(upstream: Upstream, account: str) -> None:
    await upstream.execute("CREATE TABLE orders (id bigint AUTO_INCREMENT PRIMARY KEY, v text, n int)")
    await upstream.execute("INSERT INTO orders (v, n) SELECT concat('é€ü', seq), seq FROM seq_1_to_50")
    poller = TablePoller(account)
    async with poller.opened() as source:
        assert [row["v"] for row in await poller.drain(source)] == [f"é€ü{number}" for number in range(1, 51)]
