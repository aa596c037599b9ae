"""`trelay slots` creates and drops what a source reads from, and `trelay check --live` creates nothing."""

import asyncio
from pathlib import Path

import asyncpg
import pytest

from services.cli import main


async def test_slots(
    logical_database: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], unique_name: str
) -> None:
    connection = await asyncpg.connect(logical_database)
    await connection.execute("CREATE TABLE orders (id int PRIMARY KEY)")
    slot = unique_name.replace("-", "_").lower()
    file = tmp_path / "trelay.yaml"
    file.write_text(
        f"system: {{sources: {{orders: {{kind: table, url: '{logical_database}', table: orders, mode: replication,"
        f" slot: {slot}, type: order, channel: orders, create_slot: true}}}}}}"
    )

    async def said(*arguments: str, status: int = 0) -> str:
        assert await asyncio.to_thread(main, [*arguments, "-c", str(file)]) == status
        captured = capsys.readouterr()
        return captured.out + captured.err

    assert f"slot {slot} does not exist yet" in await said("slots", "show", "orders")
    assert f"slot {slot} does not exist yet" in await said("check", "--live", "--timeout", "5", status=1)
    assert await said("slots", "create", "orders") == f"created publication {slot}\ncreated slot {slot}\n"
    assert await said("slots", "create", "orders") == "nothing to be created\n"
    assert "bytes of log" in await said("slots", "show", "orders")
    assert await said("slots", "drop", "orders") == f"dropped slot {slot}\ndropped publication {slot}\n"
    assert await connection.fetchval("SELECT count(*) FROM pg_replication_slots WHERE slot_name = $1", slot) == 0
    assert "expected a table source with mode: replication: expected orders" in await said(
        "slots", "drop", "other", status=2
    )
    await connection.close()
