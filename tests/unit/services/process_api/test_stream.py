"""The stream on the bus in memory: each event once, in order, whatever fails."""

import asyncio
import json
import random
from typing import Any

import pytest

from services.process_api.filling import TransactionOptions
from shared.bus.protocol import Outgoing, TopicPartition, partition_of
from shared.clock import SystemClock
from shared.errors import Fenced, TrelayError, Unavailable
from tests.unit.services.process_api.making import pipeline
from tests.unit.services.process_api.steps import functions
from tests.unit.services.process_api.streaming import TOPICS, Setting, until

FUNCTIONS = "tests.unit.services.process_api.steps.functions"


async def test_what_is_waiting_and_what_comes_later_is_published_in_order() -> None:
    setting = Setting()
    await setting.ingest(*range(1, 11))
    async with setting.running():
        await until(lambda: setting.published() == list(range(1, 11)))
        await setting.ingest(11)
        await until(lambda: setting.published() == list(range(1, 12)))
    record = setting.records(TOPICS.publish)[0]
    assert (record.key, record.headers) == (b"orders", (("trail", b"orders 1700000000000 orders:1"),))


async def test_it_goes_on_where_it_was() -> None:
    setting = Setting()
    await setting.ingest(1, 2, 3)
    async with setting.running():
        await until(lambda: len(setting.published()) == 3)
    await setting.ingest(4)
    async with setting.running():
        await until(lambda: len(setting.published()) == 4)
    assert setting.published() == [1, 2, 3, 4]


async def test_events_that_come_to_nothing_are_done_with_too() -> None:
    setting = Setting(pipelines=[pipeline({"filter": "n > 5"})])
    await setting.ingest(1, 2, 3)
    position = TopicPartition(TOPICS.ingest, partition_of(b"C-1", 2))
    async with setting.running() as stream:
        while await setting.bus.committed(stream.group, position) != 3:
            await asyncio.sleep(0.001)
    assert setting.records(TOPICS.publish) == []


async def test_dead_letters_are_written_with_the_outputs() -> None:
    setting = Setting(pipelines=[pipeline({"map": "n = 2 ? missing : $"})])
    await setting.ingest(1, 2, 3)
    await setting.ingest(4, source="strangers")
    await setting.write(Outgoing(b"C-1", b"no event"))
    async with setting.running():
        await until(lambda: len(setting.dead()) == 3)
    assert setting.published() == [1, 3]
    assert [error.partition(":")[0] for error in setting.dead()] == [
        "steps.0.map",
        "no pipeline takes the source 'strangers'",
        "event",
    ]
    assert setting.attempts() == [1, 1, 1]
    told = {(each.kind, each.place) for each in setting.alerts.told}
    assert told == {("dead letter", "orders"), ("dead letter", "no pipeline")}
    assert setting.sample("trelay_process_events_taken_total", pipeline="orders") == 3
    assert setting.sample("trelay_process_events_published_total", pipeline="orders") == 2
    assert setting.sample("trelay_process_rejects_total", pipeline="orders") == 1
    assert setting.sample("trelay_process_unclaimed_total") == 2


async def test_one_transaction_fills_while_another_commits() -> None:
    setting = Setting()
    setting.bus.gate.clear()
    async with setting.running():
        await setting.ingest(1)
        await until(lambda: len(setting.bus.submitted) == 1)
        await setting.ingest(2)
        await until(lambda: len(setting.bus.submitted) == 2)
        assert setting.published() == []
        setting.bus.gate.set()
        await until(lambda: setting.published() == [1, 2])


async def test_what_waits_shares_a_transaction_up_to_its_bounds() -> None:
    setting = Setting(options=TransactionOptions(events=100))
    await setting.ingest(*range(250))
    async with setting.running():
        await until(lambda: len(setting.published()) == 250)
    sizes = [len(each.records.get(TOPICS.publish, [])) for each in setting.bus.submitted]
    assert sizes == [100, 100, 50]


async def test_a_failed_commit_is_noticed_while_nothing_comes_and_nothing_is_lost_or_repeated() -> None:
    setting = Setting()
    setting.bus.fail = lambda number: Unavailable("the bus is away") if number in {1, 2} else None
    async with setting.running():
        await setting.ingest(1)
        await until(lambda: setting.published() == [1])
        await setting.ingest(2)
        await until(lambda: setting.published() == [1, 2])
    assert len(setting.bus.submitted) == 4


async def test_a_dead_letter_says_how_often_it_was_tried_while_the_bus_was_away() -> None:
    setting = Setting(pipelines=[pipeline({"map": "n in [2, 4] ? missing : $"})])
    setting.bus.fail = lambda number: Unavailable("the bus is away") if number in {0, 1} else None
    await setting.ingest(1, 2, 3)
    async with setting.running():
        await until(lambda: setting.published() == [1, 3])
        await setting.ingest(4)
        await until(lambda: len(setting.dead()) == 2)
    assert setting.attempts() == [3, 1]


async def test_a_dead_letter_says_how_often_its_lookup_was_tried() -> None:
    functions.answering.clear()
    functions.looked_up.clear()
    setting = Setting(pipelines=[pipeline({"python": f"{FUNCTIONS}:look_up"}, {"map": "wait ? missing : $"})])
    await setting.ingest(1)
    await setting.ingest(2, wait=True)
    place = f"{TOPICS.ingest}/{partition_of(b'C-1', 2)}"
    async with setting.running():
        await until(lambda: functions.looked_up.count(2) >= 3)
        assert ("process", place) in setting.alerts.open
        functions.answering.set()
        await until(lambda: len(setting.dead()) == 1)
    assert setting.attempts() == [functions.looked_up.count(2)]


async def test_what_followed_a_failed_commit_is_done_again() -> None:
    setting = Setting(options=TransactionOptions(events=1))
    failing = {3, 4, 9}
    setting.bus.fail = lambda number: Unavailable("the bus is away") if number in failing else None
    await setting.ingest(*range(20))
    async with setting.running():
        await until(lambda: len(setting.published()) == 20)
    assert setting.published() == list(range(20))


async def test_a_newer_owner_ends_this_one() -> None:
    setting = Setting()
    setting.bus.fail = lambda number: Fenced("a newer one has taken over") if number == 0 else None
    await setting.ingest(1, 2)
    async with setting.running():
        await until(lambda: setting.published() == [1, 2])


async def test_a_lookup_that_does_not_answer_holds_the_partition_and_not_what_was_before() -> None:
    functions.answering.clear()
    setting = Setting(pipelines=[pipeline({"python": f"{FUNCTIONS}:look_up"})])
    await setting.ingest(1, 2)
    await setting.ingest(3, wait=True)
    await setting.ingest(4)
    place = f"{TOPICS.ingest}/{partition_of(b'C-1', 2)}"
    async with setting.running():
        await until(lambda: ("process", place) in setting.alerts.open)
        assert setting.published() == [1, 2]
        functions.answering.set()
        await until(lambda: setting.published() == [1, 2, 3, 4])
        await until(lambda: not setting.alerts.open)
    assert setting.dead() == []


class Skipping(SystemClock):
    """Time that can be made to pass at once."""

    def __init__(self) -> None:
        self.skipped = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.skipped


async def test_one_that_takes_so_long_that_the_bus_loses_us_is_put_aside_in_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock, lost, runs = Skipping(), [], 0

    def take_long(data: Any) -> None:
        nonlocal runs
        if data["n"] == 40:
            runs += 1
            clock.skipped += 30
            lost.append(True)

    def fail(_number: int) -> TrelayError | None:
        return Fenced("taken for dead") if lost and lost.pop() else None

    monkeypatch.setattr(functions, "meanwhile", take_long)
    setting = Setting(pipelines=[pipeline({"python": f"{FUNCTIONS}:tarry"})], clock=clock)
    setting.bus.fail = fail
    await setting.ingest(*range(50))
    async with setting.running():
        await until(lambda: len(setting.published()) == 49)
    assert setting.published() == [*range(40), *range(41, 50)]
    (error,) = setting.dead()
    assert error.startswith("it took 30 s to run")
    assert setting.attempts() == [runs] == [3]  # with others, and twice alone


async def test_a_partition_that_is_held_does_not_hold_another() -> None:
    functions.answering.clear()
    setting = Setting(pipelines=[pipeline({"python": f"{FUNCTIONS}:look_up"})])
    other = next(name for name in "abcdefgh" if partition_of(name.encode(), 2) != partition_of(b"C-1", 2))
    await setting.ingest(1, wait=True)
    async with setting.running():
        await setting.ingest(2, subject=other)
        await until(lambda: setting.published() == [2])


class TestTooLarge:
    async def test_an_event_that_the_bus_refuses_goes_to_the_dead_letter_and_the_others_pass(self) -> None:
        setting = Setting(pipelines=[pipeline({"filter": "n < 1000"}, {"set": {"data.more": "=pad & pad & pad"}})])
        setting.bus.limit = 5000
        await setting.ingest(*range(5))
        await setting.ingest(5, pad="x" * 1500)
        await setting.ingest(*range(6, 12))
        async with setting.running():
            await until(lambda: len(setting.published()) == 11)
            await setting.ingest(12)
            await until(lambda: setting.published()[-1] == 12)
        assert setting.published() == [0, 1, 2, 3, 4, 6, 7, 8, 9, 10, 11, 12]
        (error,) = setting.dead()
        assert "the limit is 5000" in error
        (letter,) = setting.records(TOPICS.dead_letter)
        assert letter.key == b"orders:5"
        assert setting.attempts() == [2]  # with the others, and alone

    async def test_one_whose_dead_letter_is_refused_as_well_is_cut(self) -> None:
        setting = Setting()
        setting.bus.limit = 70_000
        await setting.ingest(1)
        await setting.ingest(2, pad="x" * 80_000)
        await setting.ingest(3)
        async with setting.running():
            await until(lambda: len(setting.published()) == 2)
        (error,) = setting.dead()
        assert "the first 65536 are kept" in error
        assert len(setting.records(TOPICS.dead_letter)[0].value) == 65536
        assert setting.attempts() == [2]  # it was not run again for its dead letter

    async def test_where_nothing_helps_it_pauses(self) -> None:
        setting = Setting()
        setting.bus.limit = 100
        await setting.ingest(1)
        async with setting.running():
            await until(lambda: len(setting.bus.submitted) > 8)
        assert setting.records(TOPICS.publish) == setting.records(TOPICS.dead_letter) == []


async def test_events_that_retention_took_are_said_to_be_lost() -> None:
    setting = Setting()
    await setting.ingest(*range(10))
    number = partition_of(b"C-1", 2)
    async with setting.running() as stream:
        await until(lambda: len(setting.published()) == 10)
        group = stream.group
    await setting.ingest(*range(10, 20))
    setting.bus.forget(TOPICS.ingest, number, 15)
    async with setting.running():
        await until(lambda: len(setting.published()) == 15)
    assert setting.published() == [*range(10), *range(15, 20)]
    assert setting.sample("trelay_process_lost_total") == 5
    assert [each.kind for each in setting.alerts.told] == ["events lost"]
    assert await setting.bus.committed(group, TopicPartition(TOPICS.ingest, number)) == 20


async def test_a_stop_waits_for_what_is_being_committed() -> None:
    setting = Setting()
    setting.bus.gate.clear()
    async with setting.running():
        await setting.ingest(1)
        await until(lambda: len(setting.bus.submitted) == 1)
        asyncio.get_running_loop().call_later(0.05, setting.bus.gate.set)
    assert setting.published() == [1]


@pytest.mark.parametrize("turns", range(12))
async def test_a_stop_at_the_moment_of_a_failure_is_a_stop(turns: int) -> None:
    setting = Setting()
    setting.bus.gate.clear()
    setting.bus.fail = lambda _number: Unavailable("the bus is away")
    async with asyncio.timeout(10):
        async with setting.running():
            await setting.ingest(1)
            await until(lambda: len(setting.bus.submitted) == 1)
            setting.bus.gate.set()
            for _ in range(turns):
                await asyncio.sleep(0)


async def test_heavy_steps_let_others_have_their_turn() -> None:
    setting = Setting(pipelines=[pipeline({"python": f"{FUNCTIONS}:toil"})])
    await setting.ingest(*range(600))
    turns = 0
    async with setting.running():
        while len(setting.published()) < 600:
            turns += 1
            await asyncio.sleep(0)
    # 600 events of a millisecond each, and the loop comes round at least every few dozen of them.
    assert turns > 10


async def test_where_it_has_read_to_is_known() -> None:
    setting = Setting()
    await setting.ingest(1, 2, 3)
    async with setting.running() as stream:
        await until(lambda: len(setting.published()) == 3)
        number = partition_of(b"C-1", 2)
        assert dict(stream.positions) == {number: 3, 1 - number: 0}
    assert dict(stream.positions) == {}


async def test_replicas_come_and_go_and_writes_fail_and_each_event_is_published_once_in_order() -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    dice = random.Random(seed)
    setting = Setting(options=TransactionOptions(events=7))

    def fail(_number: int) -> TrelayError | None:
        return Unavailable("the bus is away") if dice.random() < 0.1 else None

    setting.bus.fail = fail
    subjects = [f"S-{number}" for number in range(6)]
    count = 0
    for _ in range(12):
        for _ in range(dice.randint(1, 4)):
            size = dice.randint(1, 15)
            await setting.ingest(*range(count, count + size), subject=dice.choice(subjects))
            count += size
        async with setting.running("replica-0"), setting.running("replica-1"):
            await asyncio.sleep(dice.random() * 0.03)
    setting.bus.fail = lambda _number: None
    async with setting.running():
        await until(lambda: len(setting.published()) >= count)
    assert sorted(setting.published()) == list(range(count))
    came, went = by_subject(setting, TOPICS.ingest), by_subject(setting, TOPICS.publish)
    assert went == came


def by_subject(setting: Setting, topic: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for record in setting.records(topic):
        value = json.loads(record.value)
        found.setdefault(value["subject"], []).append(value["id"])
    return found
