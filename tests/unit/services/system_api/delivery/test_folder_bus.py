"""Checkpoints in a folder."""

import json
from pathlib import Path

import pytest

from services.system_api.delivery.folder_bus import FolderBus
from shared.bus.protocol import TopicPartition, Transaction
from shared.errors import Fenced, SettingsError, Unavailable
from shared.events.dead_letter import Reject
from tests.unit.services.system_api.harness import TOPICS


def checkpoint(**parts: str | None) -> Transaction:
    made = Transaction()
    for part, value in parts.items():
        key = b"orders" if part == "own" else f"orders/{part}".encode()
        made.append(TOPICS.checkpoints, key, None if value is None else value.encode())
    return made


async def test_a_checkpoint_is_there_after_a_restart(tmp_path: Path) -> None:
    async with FolderBus.opened(tmp_path / "state", TOPICS) as bus, bus.writer("system.orders") as writer:
        await bus.ensure_topics(TOPICS.all())
        await writer.commit(checkpoint(own="1", a="2", b="3"))
        await writer.commit(checkpoint(own="4", a=None))
    async with FolderBus.opened(tmp_path / "state", TOPICS) as bus:
        assert await bus.latest(TOPICS.checkpoints, b"orders") == {b"orders": b"4", b"orders/b": b"3"}
        assert await bus.latest(TOPICS.checkpoints, b"other") == {}
        assert await bus.latest(TOPICS.publish, b"orders") == {}
        assert bus.problem is None


async def test_dead_letters_are_lines(tmp_path: Path) -> None:
    reject = Reject("orders:1", b"\xff", "no JSON", "source", "source:f:1")
    transaction = checkpoint(own="1")
    transaction.records[TOPICS.dead_letter] = [reject.record()]
    async with FolderBus.opened(tmp_path, TOPICS) as bus, bus.writer("system.orders") as writer:
        for _ in range(2):
            await writer.commit(transaction)
    lines = [json.loads(line) for line in (tmp_path / "dead-letters.ndjson").read_text().splitlines()]
    assert len(lines) == 2
    assert (lines[0]["key"], lines[0]["error"], lines[0]["value_base64"]) == ("orders:1", "no JSON", "/w==")


async def test_a_dead_letter_behind_one_that_was_not_written_whole_is_a_line(tmp_path: Path) -> None:
    """As after a crash: it is written again then, and would be lost to whoever reads line by line."""
    transaction = checkpoint(own="1")
    transaction.records[TOPICS.dead_letter] = [Reject("orders:1", b"x", "no JSON", "source", "source:f:1").record()]
    async with FolderBus.opened(tmp_path, TOPICS) as bus, bus.writer("system.orders") as writer:
        await writer.commit(transaction)
        with (tmp_path / "dead-letters.ndjson").open("ab") as file:
            file.write(b'{"key": "orders:2", "err')
        await writer.commit(transaction)
        await writer.commit(transaction)
    whole, part, *others = (tmp_path / "dead-letters.ndjson").read_text().splitlines()
    assert part == '{"key": "orders:2", "err'
    assert [json.loads(line)["key"] for line in (whole, *others)] == ["orders:1"] * 3


async def test_a_folder_on_a_full_disk_has_no_writer_until_there_is_room(tmp_path: Path) -> None:
    async with FolderBus.opened(tmp_path, TOPICS) as bus:
        (tmp_path / "trial").symlink_to("/dev/full")
        with pytest.raises(Unavailable, match="No space left on device"):
            async with bus.writer("system.orders"):
                pytest.fail("nothing may be delivered")
        assert bus.problem is not None
        async with bus.writer("system.orders") as writer:
            assert bus.problem is None
            await writer.commit(checkpoint(own="1"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoints", "lock"]


async def test_a_newer_writer_fences_the_older_one(tmp_path: Path) -> None:
    async with (
        FolderBus.opened(tmp_path, TOPICS) as bus,
        bus.writer("system.orders") as older,
        bus.writer("system.orders") as newer,
        bus.writer("x") as other,
    ):
        with pytest.raises(Fenced):
            await older.commit(checkpoint(own="1"))
        await newer.commit(checkpoint(own="2"))
        await other.commit(Transaction())
        with pytest.raises(Unavailable):
            await newer.committed("g", TopicPartition("t", 0))


async def test_a_folder_is_of_one_process_alone(tmp_path: Path) -> None:
    async with FolderBus.opened(tmp_path, TOPICS):
        with pytest.raises(SettingsError, match="is used by another process"):
            async with FolderBus.opened(tmp_path, TOPICS):
                pass
    async with FolderBus.opened(tmp_path, TOPICS):
        pass


async def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError, match="cannot be written"):
        async with FolderBus.opened(tmp_path / "file" / "state", TOPICS):
            pass


async def test_a_disk_that_fails_is_unavailable(tmp_path: Path) -> None:
    async with FolderBus.opened(tmp_path, TOPICS) as bus, bus.writer("system.orders") as writer:
        (tmp_path / "checkpoints").rename(tmp_path / "moved")
        with pytest.raises(Unavailable, match="No such file"):
            await writer.commit(checkpoint(own="1"))
        assert bus.problem is not None


async def test_files_of_another_program_are_unavailable(tmp_path: Path) -> None:
    async with FolderBus.opened(tmp_path, TOPICS) as bus:
        (tmp_path / "checkpoints" / "orders.json").write_text("{")
        with pytest.raises(Unavailable, match="not what Trelay has written"):
            await bus.latest(TOPICS.checkpoints, b"orders")
