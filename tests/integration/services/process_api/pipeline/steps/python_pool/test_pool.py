"""`python` with asynchronous functions, and in processes."""

import asyncio
import re
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest

from services.process_api.pipeline.steps.context import StepContext
from services.process_api.pipeline.steps.outcome import Blocked, Rejected
from services.process_api.pipeline.steps.python_pool.frames import HEAD, Kind, frame
from services.process_api.pipeline.steps.python_pool.pool import Pool
from shared.errors import Unavailable
from tests.integration.services.process_api.pipeline.steps.running import running
from tests.unit.services.process_api.worker.streaming import until

HERE = "tests.unit.services.process_api.pipeline.steps.functions"
ANSWERING_ON_AND_ON = f"""
import sys, time
sys.stdout.buffer.write({frame(Kind.READY)!r})
sys.stdout.flush()
sys.stdin.buffer.read({HEAD.size})
sys.stdout.buffer.write({HEAD.pack(Kind.RETURNED, 2**32 - 1)!r})
while True:
    sys.stdout.buffer.write(bytes(65536))
    time.sleep(0.0005)
"""

STARTING_A_FUNCTION = """
import asyncio
from services.process_api.pipeline.steps.context import StepContext
from services.process_api.pipeline.steps.python_pool.pool import Pool

async def main():
    pool = Pool("{here}:endless", {{"marker": "{marker}"}}, 1, StepContext())
    await pool.call(b"[1,{{}}]", 600)

asyncio.run(main())
"""


def python(name: str, **more: Any) -> Any:
    return {"python": {"function": f"{HERE}:{name}", "settings": {"rate": 2}, **more}}


@pytest.mark.parametrize(("name", "run"), [("scripted", "loop"), ("scripted", "process"), ("plainly", "process")])
async def test_each_event_has_its_own_outcome(name: str, run: str) -> None:
    async with running(python(name, run=run, processes=2)) as run_events:
        one, failed, waits, printed = await run_events({"n": 1}, {"do": "fail"}, {"do": "wait"}, {"do": "print"})
    assert one == {"n": 1, "id": "orders:0", "rate": 2}
    assert isinstance(failed, Rejected)
    assert "raised KeyError: 'missing'" in str(failed)
    assert isinstance(waits, Blocked)
    assert printed["id"] == "orders:3"


async def test_a_function_that_never_returns_is_killed_and_its_neighbours_go_on() -> None:
    async with running(python("plainly", run="process", timeout=3)) as run_events:
        before, endless, after = await run_events({"n": 1}, {"do": "loop"}, {"n": 2})
        gone, later = await run_events({"do": "exit"}, {"n": 3})
    assert (before["n"], after["n"], later["n"]) == (1, 2, 3)
    assert "took longer than 3 s, and was killed" in str(endless)
    # asyncio reports 255 where another part of this process has reaped the child first.
    assert re.search(r"ended its process \(exit status (3|255)\)", str(gone))


@pytest.mark.parametrize(
    ("name", "run"), [("counted", "process"), ("counted_asynchronously", "process"), ("counted_asynchronously", "loop")]
)
async def test_a_rejected_event_does_not_call_the_function_again_for_the_others(
    name: str, run: str, tmp_path: Path
) -> None:
    step = {"python": {"function": f"{HERE}:{name}", "run": run, "settings": {"calls": str(tmp_path / "calls")}}}
    async with running(step) as run_events:
        found = await run_events({"n": 1}, {"n": 2, "fails": True}, {"n": 3})
    assert [type(each) for each in found] == [dict, Rejected, dict]
    assert sorted((tmp_path / "calls").read_text().split()) == ["1", "2", "3"]


async def test_what_a_function_reads_and_forks_is_apart_from_its_calls() -> None:
    async with running(python("oddly", run="process", timeout=60)) as run_events:
        read, forked, after = await run_events({"do": "read"}, {"do": "fork", "n": 1}, {"n": 2})
    assert read["read"] == ["the end", ""]
    assert (forked["id"], after["id"]) == ("orders:1", "orders:2"), "the answers of the child are not taken for others"


async def test_a_call_whose_process_ends_is_repeated_in_a_new_one(tmp_path: Path) -> None:
    """What ended it may have been somebody who is short of memory."""
    once = {"do": "crash once", "marker": str(tmp_path / "marker")}
    async with running(python("oddly", run="process", timeout=60)) as run_events:
        before, again, always, after = await run_events({"n": 1}, once, {"do": "crash"}, {"n": 2})
    assert (before["n"], again["id"], after["n"]) == (1, "orders:1", 2)
    assert "ended its process" in str(always)


async def test_a_result_that_is_too_large_and_a_long_error_concern_their_events_alone() -> None:
    async with running(python("oddly", run="process", timeout=60)) as run_events:
        much, failed, after = await run_events({"do": "much"}, {"do": "long error"}, {"n": 2})
    assert str(much).endswith("returned 68157444 bytes; expected at most 67108864")
    assert isinstance(failed, Rejected)
    assert len(str(failed)) < 11_000
    assert after["n"] == 2


@pytest.mark.parametrize("run", ["loop", "process"])
async def test_the_own_cancellation_of_a_function_concerns_its_event_alone(run: str) -> None:
    async with running({"python": {"function": f"{HERE}:cancelling", "run": run}}) as run_events:
        found = await run_events({"n": 1}, {"n": 2})
        (alone,) = await run_events({"n": 3})
    for each in (*found, alone):
        assert isinstance(each, Rejected)
        assert "cancelling raised CancelledError" in str(each)


async def test_a_closed_pool_makes_its_events_wait() -> None:
    pool = Pool(f"{HERE}:slowly", {}, 1, StepContext())
    async with asyncio.timeout(240), asyncio.TaskGroup() as tasks:
        await pool.call(b'[{"n":1},{}]', 60)
        call = tasks.create_task(_unavailable(pool.call(b'[{"seconds":600},{}]', 600)))
        await asyncio.sleep(0)
        await pool.close()
        assert await call
        assert await _unavailable(pool.call(b'[{"n":1},{}]', 60))
    assert not pool._all


async def _unavailable(call: Coroutine[Any, Any, Any]) -> bool:
    with pytest.raises(Unavailable, match="its processes have ended with its pipeline"):
        await call
    return True


@pytest.mark.skipif(sys.platform != "linux", reason="the parent's end is seen by prctl(2)")
async def test_a_function_that_never_returns_ends_with_its_replica(tmp_path: Path) -> None:
    marker = tmp_path / "pid"
    program = STARTING_A_FUNCTION.format(here=HERE, marker=str(marker))
    replica = await asyncio.create_subprocess_exec(sys.executable, "-c", program)
    try:
        async with asyncio.timeout(240):
            await until(lambda: marker.exists() and marker.read_text() != "", 240)
            pid = int(marker.read_text())
            replica.kill()
            await replica.wait()
            await until(lambda: not _runs(pid))
    finally:
        if replica.returncode is None:
            replica.kill()
        await replica.wait()


def _runs(pid: int) -> bool:
    """Return whether a process runs; one that nobody has reaped yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


async def test_an_asynchronous_function_has_a_time_limit() -> None:
    step = {"python": {"function": f"{HERE}:slowly", "timeout": 0.2}}
    async with running(step) as run_events:
        quick, slow = await run_events({"n": 1}, {"seconds": 60})
    assert quick == {"n": 1, "done": True}
    assert "took longer than 0.2 s" in str(slow)


async def test_a_process_that_cannot_start_is_waited_for() -> None:
    pool = Pool(f"{HERE}:not_there", {}, 1, StepContext())
    with pytest.raises(Unavailable, match="its process did not start"):
        await pool.call(b"[null,{}]", 60)
    await pool.close()


async def test_a_process_that_is_killed_while_it_answers_is_waited_for() -> None:
    pool = Pool(f"{HERE}:plainly", {}, 1, StepContext())
    pool._command = [sys.executable, "-c", ANSWERING_ON_AND_ON]
    async with asyncio.timeout(240):
        with pytest.raises(TimeoutError):
            await pool.call(b"[null,{}]", 0.3)
        await pool.close()
