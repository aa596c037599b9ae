"""Pushes with keys, on a bus and a store in memory that fail as they are told."""

import asyncio
from typing import Any

import pytest

from services.experience_api.producers.once.store import Found
from services.experience_api.refusals import BUSY, KEY_REUSED, PUSH_IN_PROGRESS, UNAVAILABLE, Refused
from shared.errors import Fenced, TooLarge, TrelayError, Unavailable
from shared.runtime.tasks import started
from tests.unit.services.experience_api.producers.once.pushing import ONE, TWO, Deployment, eventually, push


@pytest.fixture
def deployment() -> Deployment:
    return Deployment()


async def test_a_repeated_push_is_published_once_on_any_replica(deployment: Deployment) -> None:
    async with deployment.replica() as one, deployment.replica(TWO) as two:
        assert await one.append(push("a", "1", "2")) == 2
        assert await one.append(push("a", "1", "2")) == 0
        assert await two.append(push("a", "1", "2")) == 0
        assert await two.append(push("b")) == 1
    async with deployment.replica() as restarted:
        assert await restarted.append(push("a", "1", "2")) == 0
    assert await deployment.published() == [b"1", b"2", b"b"]


async def test_of_a_batch_only_what_is_new_is_published(deployment: Deployment) -> None:
    async with deployment.replica() as appender:
        await appender.append(push("b"))
        assert await appender.append([*push("a"), *push("b"), *push("c")]) == 2
    assert await deployment.published() == [b"a", b"b", b"c"]


async def test_another_push_with_the_key_is_refused(deployment: Deployment) -> None:
    async with deployment.replica() as appender:
        await appender.append(push("a"))
        with pytest.raises(Refused) as caught:
            await appender.append([*push("new"), *push("a", "other", fingerprint=b"g")])
        assert caught.value.refusal is KEY_REUSED
        assert await appender.append(push("new")) == 1, "the refused push has not used up its other key"
    assert await deployment.published() == [b"a", b"new"]


async def test_a_concurrent_repetition_is_refused_on_every_replica(deployment: Deployment) -> None:
    deployment.bus.holding = asyncio.Event()
    async with deployment.replica() as one, deployment.replica(TWO) as two:
        first = started("push", one.append(push("a")))
        await deployment.bus.reached.wait()
        with pytest.raises(Refused) as caught:
            await two.append([*push("b"), *push("a")])
        assert caught.value.refusal is PUSH_IN_PROGRESS
        assert caught.value.retry_after == 1
        deployment.bus.holding.set()
        assert await first == 1
        assert await two.append([*push("b"), *push("a")]) == 1
    assert await deployment.published() == [b"a", b"b"]


async def test_of_equal_pushes_in_one_round_the_first_is_published(deployment: Deployment) -> None:
    async with deployment.replica() as one:
        found = await asyncio.gather(*(one.append(push("a")) for _ in range(5)), return_exceptions=True)
        assert found[0] == 1
        assert all(
            found == 0 or (isinstance(found, Refused) and found.refusal is PUSH_IN_PROGRESS) for found in found[1:]
        )
    assert await deployment.published() == [b"a"]


@pytest.mark.parametrize("error", [Unavailable("away"), Fenced("a newer writer")], ids=["unavailable", "fenced"])
@pytest.mark.parametrize("visible", [False, True], ids=["before", "after"])
async def test_a_commit_without_an_answer_is_repeated_without_a_trace(
    deployment: Deployment, error: TrelayError, visible: bool
) -> None:
    async with deployment.replica() as one, deployment.replica(TWO) as two:
        await one.append(push("before"))
        setattr(deployment.bus, "fail_after" if visible else "fail_before", error)
        with pytest.raises(Unavailable):
            await one.append(push("a"))
        assert await eventually(two, push("a")) == (0 if visible else 1)
        assert await eventually(one, push("a")) == 0
        assert await one.append(push("before")) == 0
    assert await deployment.published() == [b"a", b"before"]


@pytest.mark.parametrize("visible", [False, True], ids=["before", "after"])
async def test_what_a_replica_that_is_gone_has_left_is_found_out_by_another(
    deployment: Deployment, visible: bool
) -> None:
    async with deployment.replica(TWO) as two:
        await two.append(push("first"))
        stack = deployment.replica()
        one = await stack.__aenter__()
        setattr(deployment.bus, "fail_after" if visible else "fail_before", Unavailable("killed"))
        with pytest.raises(Unavailable):
            await one.append(push("a"))
        deployment.gone.add(ONE)
        assert await eventually(two, push("a")) == (0 if visible else 1)
        await stack.__aexit__(None, None, None)
    assert await deployment.published() == [b"a", b"first"]


async def test_a_round_that_comes_late_from_a_replica_taken_for_gone_is_fenced(deployment: Deployment) -> None:
    """As after SIGSTOP: its keys were taken over meanwhile."""
    deployment.bus.holding = asyncio.Event()
    async with deployment.replica() as one, deployment.replica(TWO) as two:
        first = started("push", one.append(push("a")))
        await deployment.bus.reached.wait()
        deployment.gone.add(ONE)
        holding, deployment.bus.holding = deployment.bus.holding, None
        assert await eventually(two, push("a")) == 1
        holding.set()
        with pytest.raises(Unavailable):
            await first
        deployment.gone.discard(ONE)
        assert await eventually(one, push("a")) == 0
    assert await deployment.published() == [b"a"]


async def test_a_record_that_is_too_large_is_refused_alone(deployment: Deployment) -> None:
    async with deployment.replica() as one:
        deployment.bus.fail_before = TooLarge("a record")
        with pytest.raises(TooLarge):
            await one.append(push("a"))
        assert await eventually(one, push("b")) == 1
    assert await deployment.published() == [b"b"]


async def test_without_a_lease_nothing_is_published(deployment: Deployment) -> None:
    deployment.gone.add(ONE)
    async with deployment.replica() as one:
        with pytest.raises(Refused) as caught:
            await one.append(push("a"))
        assert caught.value.refusal is UNAVAILABLE
        deployment.gone.discard(ONE)
        assert await one.append(push("a")) == 1


async def test_a_store_that_fails_publishes_nothing_and_loses_no_key(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim = deployment.store.claim

    async def failing(*arguments: Any) -> Any:
        await claim(*arguments)
        monkeypatch.undo()
        raise Unavailable("the answer was lost")

    async with deployment.replica() as one:
        await one.append(push("before"))
        monkeypatch.setattr(deployment.store, "claim", failing)
        with pytest.raises(Unavailable):
            await one.append(push("a"))
        assert await eventually(one, push("a")) == 1
    assert await deployment.published() == [b"a", b"before"]


async def test_beyond_the_limit_of_keys_pushes_are_refused_and_say_why(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    swept = asyncio.Event()

    async def sweep(_hours: float, _limit: int) -> Found:
        swept.set()
        return Found([], full=True)

    monkeypatch.setattr(deployment.store, "sweep", sweep)
    async with deployment.replica(keys_limit=7) as one:
        await swept.wait()
        with pytest.raises(Refused) as caught:
            await eventually(one, push("a"))
    assert caught.value.refusal is BUSY
    assert "7 idempotency keys are kept" in caught.value.detail
    assert await deployment.published() == []
