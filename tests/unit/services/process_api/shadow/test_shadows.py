"""The shadows of a replica, with processes that do what a test wants."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import replace
from typing import Any

from services.process_api.pipeline.pipeline import Pipeline, PipelineOptions
from services.process_api.pipeline.selection import Selection
from services.process_api.shadow.messages import Given, Result, Verdict
from services.process_api.shadow.shadows import Runs, Shadows
from services.process_api.worker.batch import Batch
from services.process_api.worker.poison import PoisonTracker
from shared.errors import Unavailable
from shared.runtime.tasks import Tasks
from tests.unit.services.process_api.making import event, record
from tests.unit.services.process_api.worker.streaming import until

Answer = Callable[[Given], Any]


class QuickClock:
    """Waits take no time."""

    def __init__(self) -> None:
        self.at = 0.0

    def now(self) -> Any:
        raise NotImplementedError

    def time(self) -> float:
        return self.at

    def monotonic(self) -> float:
        return self.at

    async def sleep(self, seconds: float) -> None:
        self.at += seconds
        await asyncio.sleep(0)


class Processes:
    """Starts processes that answer as a test wants."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.started: list[Mapping[str, PipelineOptions]] = []
        self.ended = 0

    async def __call__(self, options: Mapping[str, PipelineOptions]) -> Runs:
        self.started.append(options)
        return self

    async def judge(self, given: Given, timeout: float) -> Verdict:
        assert timeout == 5
        found = self.answer(given)
        if isinstance(found, Exception):
            raise found
        assert isinstance(found, Verdict)
        return found

    async def end(self) -> int:
        self.ended += 1
        return -9


def options(*steps: Any, shadow: Any = None) -> PipelineOptions:
    written = {"sources": ["*"], "channel": "orders", "steps": list(steps), "shadow": shadow}
    return PipelineOptions.model_validate(written)


PIPELINES = {"orders": options({"filter": "n != 3"}, shadow={"steps": [{"set": {"data.x": 1}}], "keep": 2})}


def batch(*numbers: int, pipelines: Mapping[str, PipelineOptions] = PIPELINES) -> Batch:
    made = Batch(Selection([(["*"], Pipeline(name, each)) for name, each in pipelines.items()]), PoisonTracker())
    made.add([record(event({"n": number}), number) for number in numbers])
    return made


class Running:
    def __init__(self, answer: Answer) -> None:
        self.counts: Counter[str] = Counter()
        self.processes = Processes(answer)
        self.shadows = Shadows(self._count, QuickClock(), self.processes)
        self.shadows.replace(PIPELINES)

    def _count(self, pipeline: str, result: Result) -> None:
        self.counts[f"{pipeline} {result}"] += 1

    async def compared(self, count: int) -> None:
        await until(lambda: self.counts.total() == count)


@contextlib.asynccontextmanager
async def running(answer: Answer) -> AsyncIterator[Running]:
    made = Running(answer)
    async with Tasks() as tasks:
        tasks.keep("shadows", made.shadows.run())
        yield made


def differs(given: Given) -> Verdict:
    return Verdict(Result.DIFFERENT, ((b"orders", given.value),))


async def test_differences_are_counted_and_the_newest_kept() -> None:
    async with running(differs) as run:
        run.shadows.offer(batch(1, 2, 3, 4))
        await run.compared(4)
        shown = run.shadows.shown("orders")
    assert run.counts == {"orders different": 4}
    assert shown is not None
    assert shown["results"]["different"] == 4
    assert [each["place"] for each in shown["differences"]] == ["trelay.ingest/0/3", "trelay.ingest/0/4"]
    assert shown["differences"][0]["old"] == []
    assert bytes(shown["differences"][1]["old"][0]).startswith(b'{"channel":"orders"')
    assert run.processes.ended == 1
    (started,) = run.processes.started
    assert [step.kind for step in started["orders"].steps] == ["set"]
    assert started["orders"].channel == "orders"


async def test_equal_results_are_counted_and_not_kept() -> None:
    async with running(lambda _given: Verdict(Result.SAME)) as run:
        run.shadows.offer(batch(1))
        await run.compared(1)
        shown = run.shadows.shown("orders")
    assert shown is not None
    assert shown["differences"] == []


async def test_what_the_pipeline_rejects_has_no_old_events() -> None:
    pipelines = {"orders": options({"map": "$error('no')"}, shadow={"steps": []})}
    seen: list[Given] = []

    def answer(given: Given) -> Verdict:
        seen.append(given)
        return Verdict(Result.ONLY_NEW)

    async with running(answer) as run:
        run.shadows.replace(pipelines)
        run.shadows.offer(batch(1, pipelines=pipelines))
        await run.compared(1)
    assert [given.old for given in seen] == [None]


async def test_a_header_without_a_value_is_compared_as_an_empty_one() -> None:
    seen: list[Given] = []

    def answer(given: Given) -> Verdict:
        seen.append(given)
        return Verdict(Result.SAME)

    made, foreign = batch(), record(event({"n": 1}), 1)
    made.add([replace(foreign, headers=(*foreign.headers, ("x-trace", None)))])  # type: ignore[arg-type]  # Kafka has it
    async with running(answer) as run:
        run.shadows.offer(made)
        await run.compared(1)
    assert seen[0].headers[-1] == ("x-trace", b"")


async def test_a_shadow_that_fails_hangs_or_ends_is_counted_and_started_again() -> None:
    answers: list[Any] = [TimeoutError(), EOFError(), ValueError("a bug"), Unavailable("no process"), None]
    async with running(lambda given: answers.pop(0) or differs(given)) as run:
        run.shadows.offer(batch(1, 2, 4, 5, 6))
        await run.compared(5)
    assert run.counts == {"orders failed": 4, "orders different": 1}
    assert len(run.processes.started) == 4


async def test_offering_never_waits_and_what_is_too_much_is_dropped() -> None:
    made = Running(differs)
    for _ in range(5):
        made.shadows.offer(batch(*range(10, 1010)))
    assert made.counts == {"orders dropped": 3000}


async def test_shadows_are_replaced_with_the_settings() -> None:
    other = {**PIPELINES, "orders": options(shadow={"steps": [{"filter": "n > 1"}]})}
    async with running(differs) as run:
        run.shadows.offer(batch(1))
        await run.compared(1)
        run.shadows.replace(other)
        assert (run.shadows.shown("orders") or {})["results"]["different"] == 0
        run.shadows.offer(batch(2, pipelines=other))
        await run.compared(2)
        run.shadows.replace({"orders": options()})
        run.shadows.offer(batch(4))
        assert run.shadows.shown("orders") is None
    assert [step.kind for step in run.processes.started[1]["orders"].steps] == ["filter"]
    assert len(run.processes.started) == 2


async def test_events_that_wait_for_a_removed_shadow_are_forgotten() -> None:
    made = Running(differs)
    made.shadows.offer(batch(1, 2))
    made.shadows.replace({"orders": options()})
    async with Tasks() as tasks:
        tasks.keep("shadows", made.shadows.run())
        made.shadows.replace(PIPELINES)
        made.shadows.offer(batch(5))
        await made.compared(1)


async def test_what_the_pipeline_before_made_is_not_compared_with_the_shadow_of_the_next_one() -> None:
    promoted = {"orders": options({"set": {"data.x": 1}}, shadow={"steps": [{"set": {"data.x": 2}}]})}
    only_the_pipeline = {
        "orders": options({"set": {"data.x": 1}}, shadow={"steps": [{"set": {"data.x": 1}}], "keep": 2})
    }
    for after in (promoted, only_the_pipeline):
        async with running(differs) as run:
            waiting, late = batch(1, 2), batch(4)
            run.shadows.offer(waiting)
            run.shadows.replace(after)
            run.shadows.offer(late)  # its transaction was open during the reload
            run.shadows.offer(batch(5, pipelines=after))
            await run.compared(1)
            shown = run.shadows.shown("orders") or {}
        assert [each["place"] for each in shown["differences"]] == ["trelay.ingest/0/5"]


async def test_pipelines_that_are_replaced_while_an_event_is_compared_do_not_end_the_comparison() -> None:
    after = {"orders": options({"set": {"data.x": 1}}, shadow={"steps": []})}
    run: Running

    def answer(given: Given) -> Verdict:
        if given.offset == 1:
            run.shadows.replace(after)
        return differs(given)

    async with running(answer) as run:
        run.shadows.offer(batch(1, 2, 4))
        await until(lambda: run.shadows._versions["orders"] == after["orders"].version)
        run.shadows.offer(batch(5, pipelines=after))
        await run.compared(1)
        shown = run.shadows.shown("orders") or {}
    assert [each["place"] for each in shown["differences"]] == ["trelay.ingest/0/5"]


async def test_a_second_reload_does_not_hide_that_the_shadow_has_changed() -> None:
    after = {"orders": options(shadow={"steps": [{"filter": "n > 1"}]})}
    async with running(differs) as run:
        run.shadows.offer(batch(1))
        await run.compared(1)
        for _ in range(2):
            run.shadows.replace(after)
        run.shadows.offer(batch(2, pipelines=after))
        await run.compared(2)
    assert [step.kind for step in run.processes.started[-1]["orders"].steps] == ["filter"]


def test_a_shadow_does_not_change_the_version_of_its_pipeline() -> None:
    assert options(shadow={"steps": []}).version == options().version
