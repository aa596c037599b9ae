import asyncio

from services.cli.check.probing import Outcome, outcomes
from shared.errors import Unavailable


async def answers() -> str:
    return "PostgreSQL 18"


async def refuses() -> str:
    raise Unavailable("postgresql://u:hunter2@db refused\nand more")


async def hangs() -> str:
    await asyncio.Event().wait()
    return "never"


async def breaks() -> str:
    raise ValueError("not as expected")


async def test_each_is_asked_and_none_hides_another() -> None:
    probes = {"database": answers, "bus": refuses, "mail": hangs, "source orders": breaks, "last": answers}
    found = [outcome async for outcome in outcomes(probes, timeout=0.05)]
    assert found == [
        Outcome("database", True, "PostgreSQL 18"),
        Outcome("bus", False, "postgresql://u:***@db refused\\nand more"),
        Outcome("mail", False, "no answer within 0.05 s"),
        Outcome("source orders", False, "ValueError: not as expected"),
        Outcome("last", True, "PostgreSQL 18"),
    ]
    assert [outcome.line(8) for outcome in found[:2]] == [
        "ok      database  PostgreSQL 18",
        "failed  bus       postgresql://u:***@db refused\\nand more",
    ]


async def test_they_are_asked_at_once() -> None:
    meeting = asyncio.Barrier(3)

    async def meets() -> str:
        await meeting.wait()
        return "met"

    found = [outcome async for outcome in outcomes(dict.fromkeys("abc", meets), timeout=10)]
    assert all(outcome.works for outcome in found)


async def test_a_caller_that_stops_early_leaves_no_probe_running() -> None:
    stream = outcomes({"first": answers, "second": hangs}, timeout=1000)
    assert (await anext(stream)).what == "first"
    await stream.aclose()
    assert not [task for task in asyncio.all_tasks() if task.get_name().startswith("probe")]
