import asyncio

from trelay_client.tasks import ended, started


async def test_a_task_has_ended_when_ended_returns() -> None:
    seen: list[str] = []

    async def endless() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            seen.append("cancelled")

    async def failing() -> None:
        raise ValueError("of no interest")

    task = started("endless", endless())
    await asyncio.sleep(0)
    await ended(task)
    assert (seen, task.get_name()) == (["cancelled"], "endless")
    await ended(started("failing", failing()))
    failed = started("failing", failing())
    await asyncio.sleep(0)
    await ended(failed)
