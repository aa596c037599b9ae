"""Heartbeats on a stream of two replicas: one for each quiet subject, whatever fails."""

import json
from collections import Counter

import pytest

from services.process_api.pipeline.pipeline import Pipeline
from services.process_api.pipeline.steps.stateful import schedule
from shared.errors import Unavailable
from tests.unit.services.process_api.making import pipeline
from tests.unit.services.process_api.worker.streaming import TOPICS, Setting, until

SUBJECTS = 8


def heartbeats(setting: Setting) -> Counter[str]:
    found = [json.loads(record.value or b"") for record in setting.records(TOPICS.publish)]
    return Counter(each["subject"] for each in found if each["type"] == "heartbeat")


def quick() -> Pipeline:
    """A pipeline whose subjects are quiet after a fifth of a second."""
    made = pipeline({"schedule": {"quiet": 5}})
    for step, _ in made._segments[0].timed:
        assert isinstance(step, schedule.ScheduleStep)
        step._quiet = 200
    return made


async def test_each_quiet_subject_has_one_heartbeat(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schedule, "_SETTLED", 50)
    setting = Setting(pipelines=[quick()])
    setting.bus.fail = lambda number: Unavailable("it crashed") if number in {1, 3, 4} else None
    async with setting.running("a"):
        async with setting.running("b"):
            for number in range(SUBJECTS):
                await setting.ingest(number, subject=f"s{number}")
            await until(lambda: bool(heartbeats(setting)))
        # The partitions of b move to a.
        await until(lambda: len(heartbeats(setting)) == SUBJECTS)
        await setting.ingest(100, subject="s0")
        await until(lambda: sum(heartbeats(setting).values()) == SUBJECTS + 1)
    assert heartbeats(setting) == {f"s{number}": 2 if number == 0 else 1 for number in range(SUBJECTS)}
