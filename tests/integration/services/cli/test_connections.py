"""`trelay connections` and `trelay clients list --json` read what the replicas write."""

import asyncio
import json
import uuid
from pathlib import Path

import pytest

from services.cli import main
from services.experience_api.registry.clients import Client, Ending
from services.experience_api.registry.postgres import PostgresRegistry
from services.experience_api.registry.protocol import Claim, Node
from services.experience_api.registry.tokens import TokenClaims
from shared.database.options import DatabaseOptions
from shared.lease import Granted, PostgresLeaseStore


@pytest.fixture
async def config(migrated_database: DatabaseOptions, tmp_path: Path) -> Path:
    """Settings with a database in which `on` is connected, `off` is registered, and `new` is neither."""
    path = tmp_path / "trelay.yaml"
    path.write_text(f"database: {{url: '{migrated_database.url}'}}\n")
    async with PostgresLeaseStore.opened(migrated_database) as leases:
        granted = await leases.acquire("node/one", "one", 600.0)
    assert isinstance(granted, Granted)
    async with PostgresRegistry.opened(migrated_database) as registry:
        for name in ("new", "off", "on"):
            await registry.add(Client(name, "hash", ("a.*",), note="a note"))
        on = TokenClaims("on", b"1" * 32)
        await registry.register(TokenClaims("off", b"0" * 32))
        await registry.register(on)
        claim = await registry.claim(
            on, uuid.UUID(int=7), Node("one", granted.epoch), remote="192.0.2.1", loopback=False, good_for_days=1
        )
        assert isinstance(claim, Claim)
        await registry.note_ending("off", Ending(4002, "no pong", 90.0))
    return path


async def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert await asyncio.to_thread(main, list(arguments)) == 0
    return capsys.readouterr().out


async def test_connections_are_shown_with_who_since_when_and_from_where(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = (await printed(capsys, "connections", "--config", str(config))).splitlines()
    assert lines[0].split() == ["CLIENT", "SINCE", "FROM", "NODE", "CONNECTION", "LAST", "ENDING"]
    (client, since, *others) = lines[1].split()
    assert (client, others) == ("on", ["192.0.2.1", "one", str(uuid.UUID(int=7))])
    assert since.endswith("Z")
    assert len(lines) == 2
    lines = (await printed(capsys, "connections", "--all", "--config", str(config))).splitlines()
    assert [line.split()[0] for line in lines[1:]] == ["off", "on"]
    assert "not connected, last seen 20" in lines[1]
    assert lines[1].endswith("Z 4002 no pong, after 90 s")


async def test_connections_and_clients_as_json(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    off, on = json.loads(await printed(capsys, "connections", "--all", "--json", "--config", str(config)))
    assert (off["client_id"], off["connected"]) == ("off", False)
    ending = off["last_ending"]
    assert (ending["code"], ending["reason"], ending["lasted_seconds"]) == (4002, "no pong", 90.0)
    assert on["last_ending"] is None
    assert (on["client_id"], on["connected"], on["from"], on["node"]) == ("on", True, "192.0.2.1", "one")
    clients = json.loads(await printed(capsys, "clients", "list", "--json", "--config", str(config)))
    assert [client["client_id"] for client in clients] == ["new", "off", "on"]
    assert (clients[0]["channels"], clients[0]["note"], clients[0]["disabled"]) == (["a.*"], "a note", False)
    assert "secret_hash" not in clients[0]
    assert [client["last_ending"] for client in clients] == [None, ending, None]
    assert "4002 no pong" in await printed(capsys, "clients", "list", "--config", str(config))
