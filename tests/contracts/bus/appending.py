"""Appenders: records of many callers, outside transactions."""

import asyncio

import pytest

from shared.bus.protocol import RECORD_LIMIT, Bus, Outgoing
from shared.errors import TooLarge, Unavailable
from tests.contracts.bus.deployment import Deployment, DeploymentFixtures
from tests.contracts.bus.records import by_key, everything, outgoing, visible


class AppendingContract(DeploymentFixtures):
    async def test_appended_records_are_visible_on_return_and_in_order(self, bus: Bus, topic: str) -> None:
        async with bus.appender() as appender:
            for number in range(10):
                await appender.append(topic, outgoing(f"{number}.a", f"{number}.b", key="k"))
                assert len(await visible(bus, topic)) == 2 * number + 2
        assert await visible(bus, topic) == [f"{number}.{part}" for number in range(10) for part in "ab"]

    async def test_a_record_is_read_as_it_was_appended(self, bus: Bus, line: str) -> None:
        written = Outgoing(b"client", bytes(range(256)), (("trail", b"entity 1 a"),))
        async with bus.appender() as appender:
            await appender.append(line, [written, Outgoing(b"gone", None)])
        [record, deletion] = await everything(bus, line)
        assert (record.key, record.value, tuple(record.headers)) == written
        assert deletion.value is None

    async def test_an_empty_call_is_no_error(self, bus: Bus, topic: str) -> None:
        async with bus.appender() as appender:
            await appender.append(topic, [])
        assert await visible(bus, topic) == []

    async def test_concurrent_calls_lose_nothing_and_keep_the_order_of_each_caller(self, bus: Bus, topic: str) -> None:
        async with bus.appender() as appender:

            async def call(caller: int) -> None:
                for number in range(10):
                    await appender.append(topic, outgoing(f"{number}.a", f"{number}.b", key=f"caller-{caller}"))

            await asyncio.gather(*(call(caller) for caller in range(50)))
        found = by_key(await everything(bus, topic))
        order = [f"{number}.{part}" for number in range(10) for part in "ab"]
        assert found == {f"caller-{caller}": order for caller in range(50)}

    async def test_two_appenders_do_not_fence_one_another(self, deployment: Deployment, bus: Bus, topic: str) -> None:
        async with deployment.connect() as another, bus.appender() as left, another.appender() as right:
            for number in range(5):
                await left.append(topic, outgoing(f"l{number}"))
                await right.append(topic, outgoing(f"r{number}"))
        assert len(await visible(bus, topic)) == 10

    async def test_leaving_sends_all_accepted_records(self, bus: Bus, topic: str) -> None:
        async with bus.appender() as appender:
            calls = [asyncio.create_task(appender.append(topic, outgoing(f"{number}"))) for number in range(100)]
            await asyncio.sleep(0)
        await asyncio.gather(*calls)
        assert sorted(await visible(bus, topic), key=int) == [str(number) for number in range(100)]

    async def test_a_record_above_the_limit_fails_its_own_call_alone(self, bus: Bus, topic: str) -> None:
        too_large = [*outgoing("b"), Outgoing(b"k", b"v" * RECORD_LIMIT), *outgoing("c")]
        async with bus.appender() as appender:
            results = await asyncio.gather(
                appender.append(topic, outgoing("a")),
                appender.append(topic, too_large),
                appender.append(topic, outgoing("d")),
                return_exceptions=True,
            )
            assert [type(result) for result in results] == [type(None), TooLarge, type(None)]
            assert str(RECORD_LIMIT) in str(results[1])
            await appender.append(topic, outgoing("e"))
        assert sorted(await visible(bus, topic)) == ["a", "d", "e"]

    async def test_a_record_at_the_limit_is_appended(self, bus: Bus, line: str) -> None:
        async with bus.appender() as appender:
            await appender.append(line, [Outgoing(b"k", b"v" * (RECORD_LIMIT - 1))])
        [record] = await everything(bus, line)
        assert len(record.value or b"") == RECORD_LIMIT - 1

    async def test_a_cancelled_call_does_not_affect_the_others(self, bus: Bus, topic: str) -> None:
        async with bus.appender() as appender:
            calls = [asyncio.create_task(appender.append(topic, outgoing(f"{number}"))) for number in range(20)]
            await asyncio.sleep(0)
            calls[7].cancel()
            results = await asyncio.gather(*calls, return_exceptions=True)
        assert [number for number, result in enumerate(results) if result is not None] in ([7], [])
        assert {str(number) for number in range(20) if number != 7} <= set(await visible(bus, topic))

    async def test_a_topic_that_does_not_exist_is_named(self, bus: Bus, topic: str) -> None:
        async with bus.appender() as appender:
            with pytest.raises(Unavailable, match="not-there"):
                await appender.append("not-there", outgoing("a"))
            await appender.append(topic, outgoing("b"))
        assert await visible(bus, topic) == ["b"]
