"""Fencing: one writer of a name at a time, and what is final once a newer one is open."""

import asyncio

import pytest

from shared.bus.protocol import Bus, TopicPartition, Writer
from shared.errors import Fenced, TrelayError
from tests.contracts.bus.deployment import Deployment, DeploymentFixtures
from tests.contracts.bus.records import TIMEOUT, hand_over, owning, visible, writing


class FencingContract(DeploymentFixtures):
    async def test_a_fenced_writer_does_not_get_the_committed_offset(self, bus: Bus, topic: str) -> None:
        async with bus.writer("contested") as older, bus.writer("contested") as newer:
            with pytest.raises(Fenced):
                await older.committed("contested", TopicPartition(topic, 0))
            assert await newer.committed("contested", TopicPartition(topic, 0)) is None

    async def test_a_newer_writer_fences_the_older(self, bus: Bus, line: str) -> None:
        async with bus.writer("owned") as older:
            await older.commit(writing(line, "a"))
            async with owning(bus, "owned") as newer:
                await newer.commit(writing(line, "b"))
                with pytest.raises(Fenced, match="owned"):
                    await older.commit(writing(line, "x"))
                with pytest.raises(TrelayError):
                    await older.commit(writing(line, "y"))
                await newer.commit(writing(line, "c"))
        assert await visible(bus, line) == ["a", "b", "c"]

    async def test_fencing_holds_across_connections(self, deployment: Deployment, bus: Bus, line: str) -> None:
        async with deployment.connect() as another, bus.writer("moved") as older:
            await older.commit(writing(line, "a"))
            async with owning(another, "moved") as newer:
                for text in ("x", "y"):
                    with pytest.raises(TrelayError):
                        await older.commit(writing(line, text))
                await newer.commit(writing(line, "b"))
        assert await visible(bus, line) == ["a", "b"]

    async def test_writers_of_two_names_are_independent(self, bus: Bus, line: str) -> None:
        async with owning(bus, "left") as left, owning(bus, "right") as right:
            for number in range(5):
                await asyncio.gather(
                    left.commit(writing(line, f"l{number}")), right.commit(writing(line, f"r{number}"))
                )
        found = await visible(bus, line)
        assert [text for text in found if text[0] == "l"] == [f"l{number}" for number in range(5)]
        assert [text for text in found if text[0] == "r"] == [f"r{number}" for number in range(5)]

    async def test_once_a_writer_is_open_what_the_older_had_in_flight_is_final(
        self, deployment: Deployment, bus: Bus, line: str
    ) -> None:
        """The older one writes as fast as it can while newer ones open, and each of them reads what is visible."""
        async with deployment.connect() as another:
            for round_ in range(5):
                name = f"final-{line}-{round_}"
                async with bus.writer(name) as older:
                    writing_on = asyncio.create_task(self._write_until_fenced(older, line, round_))
                    await asyncio.sleep(0)
                    async with another.writer(name):
                        found = await visible(another, line)
                        with pytest.raises(TrelayError):
                            await asyncio.wait_for(writing_on, TIMEOUT)
                        assert await visible(another, line) == found
            whole = await visible(another, line)
        for round_ in range(5):
            mine = [text for text in whole if text.startswith(f"{round_}.")]
            assert mine == [f"{round_}.{number}.{part}" for number in range(len(mine) // 5) for part in range(5)]

    async def _write_until_fenced(self, writer: Writer, topic: str, round_: int) -> None:
        number = 0
        while True:
            await hand_over(writer, writing(topic, *(f"{round_}.{number}.{part}" for part in range(5))))
            number += 1
            await asyncio.sleep(0)
