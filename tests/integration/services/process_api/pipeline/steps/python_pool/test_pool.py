"""`python` with asynchronous functions, and in processes."""

import asyncio
import re
import sys
from typing import Any

import pytest

from services.process_api.pipeline.steps.context import StepContext
from services.process_api.pipeline.steps.outcome import Blocked, Rejected
from services.process_api.pipeline.steps.python_pool.frames import HEAD, Kind, frame
from services.process_api.pipeline.steps.python_pool.pool import Pool
from shared.errors import Unavailable
from tests.integration.services.process_api.pipeline.steps.running import running

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
