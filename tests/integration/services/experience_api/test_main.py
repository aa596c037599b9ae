"""The service as a process: `python -m services.experience_api --config FILE`, on the PostgreSQL bus."""

import asyncio
import signal
import sys
from pathlib import Path

from services.experience_api.auth.clients import add_client
from services.experience_api.registry.postgres import PostgresRegistry
from services.standalone.embedded.process import free_port
from shared.database.options import DatabaseOptions
from tests.integration.services.experience_api.replicas import TIMEOUT, ReplicaClient, ready

CONFIG = """
database:
  url: {url}
bus:
  kind: postgres
experience:
  listen: {{port: {port}}}
  presence: {{enabled: true}}
  latest: {{channels: ["**"]}}
  drain_delay: 0
  drain_within: 3
  entity: {{allow: [127.0.0.0/8]}}
  delivery: {{drain: {{spread: 0}}}}
system: {{read by: another service}}
"""


async def run(config: Path) -> asyncio.subprocess.Process:
    program = [sys.executable, "-m", "services.experience_api", "--config", str(config)]
    return await asyncio.create_subprocess_exec(*program, stderr=asyncio.subprocess.PIPE)


async def test_it_starts_with_an_empty_database_and_drains_on_sigterm(database: str, tmp_path: Path) -> None:
    port = free_port()
    config = tmp_path / "trelay.yaml"
    config.write_text(CONFIG.format(url=database, port=port))
    child = await run(config)
    try:
        async with ReplicaClient.of(f"http://127.0.0.1:{port}") as client:
            async with asyncio.timeout(TIMEOUT):
                while not await listens(port):
                    await asyncio.sleep(0.05)
            await ready(client)
            options = DatabaseOptions(url=database)
            async with PostgresRegistry.opened(options) as registry:
                await add_client(registry, "demo", secret="demo", loopback_only=True)
            token = await client.register()
            async with client.connect(token) as subscription:
                await subscription.next()
                await client.push("orders", 1, 2)
                assert [(await subscription.next())["data"]["number"] for _ in range(2)] == [1, 2]
                child.send_signal(signal.SIGTERM)
                assert (await subscription.closed())[0] == 4000
        _, log = await asyncio.wait_for(child.communicate(), TIMEOUT)
        assert child.returncode == 0, log.decode()
        assert token not in log.decode()
        assert "migrated database" in log.decode()
        for noise in ("alembic", "presence not published", "publish topic not read yet", "latest events"):
            assert noise not in log.decode(), log.decode()
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()


async def listens(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


async def test_an_unknown_setting_is_named(tmp_path: Path) -> None:
    config = tmp_path / "trelay.yaml"
    config.write_text("experience:\n  entity:\n    alow: [127.0.0.1]\n")
    child = await run(config)
    _, log = await asyncio.wait_for(child.communicate(), TIMEOUT)
    assert child.returncode == 2
    assert "experience.entity.alow" in log.decode()
    assert "allow" in log.decode()
