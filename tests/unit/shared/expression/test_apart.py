"""Expressions that are evaluated in a process of their own."""

import asyncio
import json
import os
import resource
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.errors import Malformed, Unavailable
from shared.expression import apart
from shared.expression.jsonata import EvaluationTimeout, Jsonata
from shared.expression.wire import Kind
from shared.runtime.tasks import cancelled, started
from shared.suspension.greenlets import suspendable


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    apart.close()
    yield
    apart.close()


@pytest.mark.parametrize(
    ("expression", "wanted"),
    [
        ("a.b[c = 1]", False),
        ("{'total': $sum(lines.price)}", False),
        ("a % 2", False),
        ("'$pad(' & a", False),
        ("$padding", False),
        ("a.`function`", False),
        ("$pad(a, n)", True),
        ("$map(a, function($x) { $x })", True),
        ("a ~> λ($x) { $x }", True),
        ("lines.($$.note)", True),
        ("**.name", True),
        ("a.%.b", True),
        ("$replace(a, b, c)", True),
    ],
)
def test_those_are_that_may_take_more_than_their_input(expression: str, wanted: bool) -> None:
    assert apart.needed(expression) is wanted


@pytest.mark.parametrize(
    ("expression", "wanted"),
    [
        ("($id := id; lines.{'order': $id})", True),
        ("lines@$l.{'order': id}", True),
        ("lines.{'order': $event.subject}", True),
        ("$map(lines, $append(?, id))", True),
        ("$formatNumber(n, picture)", True),
        ("lines.{'sku': sku}", False),
        ("a ? b : c", False),
        ("':=' & a", False),
        ("$events", False),
    ],
)
def test_large_inputs_are_that_may_be_multiplied_by_themselves(expression: str, wanted: bool) -> None:
    assert apart.needed_where_large(expression) is wanted


@pytest.mark.parametrize(
    ("expression", "members", "event"),
    [
        ("($id := id; lines.{'order': $id})", {"id": "x" * 100_000}, None),
        ("lines@$l.{'order': id}", {"id": "x" * 100_000}, None),
        ("lines.{'order': $event.subject}", {}, {"subject": "x" * 100_000}),
        ("$map(lines, $append(?, id))", {"id": "x" * 100_000}, None),
    ],
)
async def test_a_result_that_multiplies_its_input_concerns_its_event_alone(
    expression: str, members: dict[str, str], event: dict[str, str] | None
) -> None:
    small = json.dumps({"id": "7", "lines": [1]}).encode()
    large = json.dumps({**members, "lines": [1] * 20_000}).encode()  # 2 GB
    multiplying = Jsonata(expression)
    found = multiplying.evaluate(small, {"subject": "7"})
    assert not apart._evaluators.idle, "small ones are evaluated here"
    with pytest.raises(Malformed, match=r"more than 256 MiB of memory|no result within"):
        multiplying.evaluate(large, event)
    assert multiplying.evaluate(small, {"subject": "7"}) == found


async def test_the_answers_are_the_same_apart() -> None:
    for expression, data in (
        ("$pad(s, n)", {"s": "x", "n": 3}),
        ("$map(l, function($x) { $x * 2 })", {"l": [1, 2]}),
        ("$pad(missing, 3)", {}),
        ("$pad($event.id, 4, '.')", {}),
    ):
        written = json.dumps(data).encode()
        near = Jsonata(expression, apart=False).evaluate(written, {"id": "7"})
        assert Jsonata(expression).evaluate(written, {"id": "7"}) == near
    with pytest.raises(Malformed, match="T2001"):
        Jsonata("$pad('x', 1) + 1").evaluate(b"{}", None)


async def test_a_result_beyond_the_memory_concerns_its_event_alone() -> None:
    pad = Jsonata("$pad(s, n)")
    assert pad.evaluate(b'{"s":"a","n":2}', None) == b'"a "'
    with pytest.raises(Malformed, match="more than 256 MiB of memory"):
        pad.evaluate(b'{"s":"a","n":4000000000}', None)
    assert pad.evaluate(b'{"s":"b","n":2}', None) == b'"b "'


async def test_an_evaluation_is_limited_by_its_cpu_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine does not change the verdict; the clock stops what uses no CPU time, after much longer."""
    monkeypatch.setattr(apart, "CPU_SECONDS", 1)
    assert apart.SECONDS >= 15 * apart.CPU_SECONDS
    counting = Jsonata("$count($map([1..n], function($x) { $sum([1..1000]) }))")
    assert counting.evaluate(b'{"n":3}', None) == b"3"
    (process,) = apart._evaluators.idle
    process.seconds = 240.0
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    with pytest.raises(EvaluationTimeout, match="no result within 1 s of CPU time"):
        await suspendable(evaluated(counting, b'{"n":1000000}'))
    assert 0.5 < resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before < 10
    assert not apart._evaluators.idle


async def test_the_cpu_time_is_counted_anew_for_each_evaluation() -> None:
    pad = Jsonata("$pad(s, 2)")
    pad.evaluate(PAD, None)
    (process,) = apart._evaluators.idle
    _, most = resource.prlimit(process.pid, resource.RLIMIT_CPU)
    resource.prlimit(process.pid, resource.RLIMIT_CPU, (1000, most))
    pad.evaluate(PAD, None)
    assert resource.prlimit(process.pid, resource.RLIMIT_CPU)[0] <= 1 + apart.CPU_SECONDS
    assert resource.prlimit(process.pid, resource.RLIMIT_CORE) == (0, 0), "a file would hold what the event does"


async def test_an_evaluation_that_does_not_end_is_ended() -> None:
    endless = Jsonata("$map([1], function($x) { ($f := function($y) { $f($y + 1) }; $f(1)) })")
    with pytest.raises((EvaluationTimeout, Malformed)):
        endless.evaluate(b"{}", None)
    pad = Jsonata("$pad(s, 2)")
    pad.evaluate(b'{"s":"b"}', None)
    (process,) = apart._evaluators.idle
    os.kill(process.pid, signal.SIGSTOP)
    process.seconds = 0.05
    with pytest.raises(EvaluationTimeout):
        pad.evaluate(b'{"s":"b"}', None)
    assert pad.evaluate(b'{"s":"b"}', None) == b'"b "'


async def test_the_time_limit_of_the_process_itself_is_a_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apart._Process, "ask", lambda *_: (Kind.TIMED_OUT, b"no result within 1 s"))
    with pytest.raises(EvaluationTimeout, match="no result within 1 s"):
        Jsonata("$pad(s, 2)").evaluate(b'{"s":"b"}', None)


async def test_an_interruption_while_a_process_starts_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    ended = []
    end = apart._Process.end

    def interrupted(_: apart._Process) -> None:
        raise KeyboardInterrupt

    def noted(process: apart._Process) -> int:
        ended.append(process.pid)
        return end(process)

    monkeypatch.setattr(apart._Process, "ready", interrupted)
    monkeypatch.setattr(apart._Process, "end", noted)
    with pytest.raises(KeyboardInterrupt):
        Jsonata("$pad(s, 2)").evaluate(b'{"s":"b"}', None)
    assert len(ended) == 1
    assert not apart._evaluators.idle


async def test_large_values_pass() -> None:
    text = "x" * 3_000_000
    found = Jsonata("$pad(s, 1)").evaluate(json.dumps({"s": text}).encode(), None)
    assert found == json.dumps(text).encode()


async def test_a_process_that_is_killed_is_replaced() -> None:
    pad = Jsonata("$pad('a', 2)")
    pad.evaluate(b"{}", None)
    (process,) = apart._evaluators.idle
    os.kill(process.pid, signal.SIGKILL)
    assert pad.evaluate(b"{}", None) == b'"a "'


def _descriptors() -> int:
    return len(list(Path("/dev/fd").iterdir()))


async def test_where_no_process_can_be_started_the_event_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Too many open files, or no memory: no event is to blame."""
    pad, before = Jsonata("$pad(a, 2)"), _descriptors()

    def refused(*_: object, **__: object) -> int:
        raise OSError(24, "Too many open files")

    with monkeypatch.context() as patched:
        patched.setattr(os, "posix_spawn", refused)
        with pytest.raises(Unavailable, match=r"does not start: .*Too many open files"):
            pad.evaluate(b'{"a":"b"}', None)
    assert _descriptors() == before
    with monkeypatch.context() as patched:
        patched.setattr(sys, "executable", shutil.which("false"))
        with pytest.raises(Unavailable, match="does not start: it ended with 1"):
            pad.evaluate(b'{"a":"b"}', None)
    assert _descriptors() == before
    assert pad.evaluate(b'{"a":"b"}', None) == b'"b "'


PAD = b'{"s":"b"}'


async def evaluated(expression: Jsonata, data: bytes = PAD) -> bytes | None:
    return expression.evaluate(data, None)


async def paused(pad: Jsonata) -> apart._Process:
    """Return the only process, which is stopped: an evaluation takes as long as a test needs."""
    pad.evaluate(PAD, None)
    (process,) = apart._evaluators.idle
    process.seconds = 240.0
    os.kill(process.pid, signal.SIGSTOP)
    return process


async def ticks() -> None:
    """Let other tasks run, as those that send heartbeats, until what takes long has left the loop to them."""
    async with asyncio.timeout(60):
        for _ in range(100):
            await asyncio.sleep(0)


@pytest.mark.parametrize("size", [1, 1_000_000])
async def test_other_tasks_run_while_an_evaluation_takes_long(size: int) -> None:
    """A large input fills the pipe, and is written on while others run."""
    pad = Jsonata("$pad(s, 2)")
    process = await paused(pad)
    text = "x" * size
    task = started("evaluation", suspendable(evaluated(pad, json.dumps({"s": text}).encode())))
    await ticks()
    assert not task.done()
    os.kill(process.pid, signal.SIGCONT)
    assert await task == json.dumps(text.ljust(2)).encode()
    assert apart._evaluators.idle == [process]


async def test_an_evaluation_waits_where_enough_take_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apart, "_AT_ONCE", 1)
    pad = Jsonata("$pad(s, 2)")
    process = await paused(pad)
    tasks = [started("evaluation", suspendable(evaluated(pad))) for _ in range(3)]
    await ticks()
    assert not any(task.done() for task in tasks)
    os.kill(process.pid, signal.SIGCONT)
    assert await asyncio.gather(*tasks) == [b'"b "'] * 3
    assert apart._evaluators.idle == [process], "no other process was started"


async def test_an_evaluation_that_is_cancelled_ends_its_process() -> None:
    pad = Jsonata("$pad(s, 2)")
    process = await paused(pad)
    task = started("evaluation", suspendable(evaluated(pad)))
    await ticks()
    await cancelled(task)
    assert task.cancelled()
    assert not apart._evaluators.idle
    with pytest.raises(ProcessLookupError):
        os.kill(process.pid, 0)
    assert await suspendable(evaluated(pad)) == b'"b "'


async def test_the_time_limit_holds_while_other_tasks_run() -> None:
    pad = Jsonata("$pad(s, 2)")
    process = await paused(pad)
    process.seconds = 0.05
    with pytest.raises(EvaluationTimeout):
        await suspendable(evaluated(pad))


async def test_whatever_has_killed_all_processes_concerns_no_event() -> None:
    pad = Jsonata("$pad(s, 2)")
    await paused(pad)
    held = apart._evaluators.idle.pop()
    pad.evaluate(PAD, None)
    apart._evaluators.idle.append(held)
    for process in apart._evaluators.idle:
        os.kill(process.pid, signal.SIGKILL)
    assert pad.evaluate(PAD, None) == b'"b "'
