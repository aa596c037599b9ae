"""Random letters, filters, replays and drops, on two replicas: all is as a simple model of it says."""

import random
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import pytest

from services.process_api.dead_letters import deciding, listing, operation
from shared.bus.memory import MemoryBus
from shared.events.dead_letter import Reject
from tests.unit.services.process_api.dead_letters.lettering import Desk, bad_line, reject

PIPELINES = ["orders", "stock", ""]
SOURCES = ["orders", "orders-eu"]
ERRORS = ["steps.0.map: Found 3", "steps.1.validate: no total", "late: 5 s"]


@dataclass
class Modelled:
    """A letter as the model knows it."""

    source: str
    pipeline: str
    stage: str
    error: str
    status: str = "open"

    def matches(self, wanted: dict[str, str]) -> bool:
        return (
            fnmatchcase(self.source, wanted.get("source", "*"))
            and fnmatchcase(self.pipeline, wanted.get("pipeline", "*"))
            and self.stage == wanted.get("stage", self.stage)
            and wanted.get("error", "").lower() in self.error.lower()
        )

    @property
    def replayable(self) -> bool:
        return self.stage == "pipeline" and self.pipeline != "stock"


class World:
    """Two replicas on one bus, and the model beside them."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.letters: list[Modelled] = []
        bus = MemoryBus()
        self.desks = [Desk(bus, seed=number) for number in range(2)]
        for desk in self.desks:
            desk.pipelines["*"] = ["orders"]

    @property
    def desk(self) -> Desk:
        return self.rng.choice(self.desks)

    async def write(self) -> None:
        rejects = [self._reject(len(self.letters) + number) for number in range(self.rng.randrange(1, 12))]
        await self.desk.write(*(each for each, _ in rejects))
        self.letters += [modelled for _, modelled in rejects]

    def _reject(self, number: int) -> tuple[Reject, Modelled]:
        if self.rng.random() < 0.2:
            made = bad_line(number)
            return made, Modelled("files", "", "source", made.error)
        source, pipeline, error = self.rng.choice(SOURCES), self.rng.choice(PIPELINES), self.rng.choice(ERRORS)
        label = f"{pipeline}@1" if pipeline else ""
        return reject(number, source=source, pipeline=label, error=error), Modelled(source, pipeline, "pipeline", error)

    def filters(self) -> dict[str, str]:
        choices = {
            "source": ["orders", "orders*", "files", "*-eu"],
            "pipeline": ["orders", "", "st*", "*"],
            "stage": ["pipeline", "source"],
            "error": ["found", "STEPS", "late"],
        }
        names = self.rng.sample(sorted(choices), self.rng.randrange(1, 3))
        return {name: self.rng.choice(choices[name]) for name in names}

    async def decide(self) -> None:
        done = self.rng.choice(["replayed", "dropped"])
        ids = self.rng.random() < 0.3
        named = sorted(self.rng.sample(range(len(self.letters)), min(3, len(self.letters))))
        filters = self.filters()
        body: dict[str, Any] = {"ids": [f"0-{number}" for number in named]} if ids else dict(filters)
        wanted = [self.letters[n] for n in named] if ids else [each for each in self.letters if each.matches(filters)]
        earlier = sum(each.status != "open" for each in wanted) if ids else 0
        opened = [each for each in wanted if each.status == "open"]
        decided = [each for each in opened if done == "dropped" or each.replayable]
        dry = await self._run(done, {**body, "dry_run": True})
        real = await self._run(done, {**body, "cursor": dry["snapshot"]} if self.rng.random() < 0.5 else body)
        for each in decided:
            each.status = done
        for found in (dry, real):
            counts = (found[done], found["refused"], found["decided_before"])
            assert counts == (len(decided), len(opened) - len(decided), earlier), (body, found)

    async def _run(self, done: str, body: dict[str, Any]) -> dict[str, Any]:
        desk = self.desk
        return await (desk.replay(**body) if done == "replayed" else desk.drop(**body))

    async def check(self) -> None:
        desk, filters = self.desk, self.filters()
        status = self.rng.choice(["open", "replayed", "dropped", "all"])
        expected = [
            f"0-{number}"
            for number, each in enumerate(self.letters)
            if status in {each.status, "all"} and each.matches(filters)
        ]
        assert await desk.ids(status=status, order="oldest", limit="1000", **filters) == expected
        assert await desk.ids(status=status, limit="1000", **filters) == expected[::-1]
        assert (await desk.counts(status=status, **filters))["total"] == len(expected)
        replayed = [number for number, each in enumerate(self.letters) if each.status == "replayed"]
        assert desk.numbers() == replayed


@pytest.mark.parametrize("seed", range(25))
async def test_everything_is_as_the_model_says(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(seed)
    monkeypatch.setattr(listing, "_SECONDS", 600.0)  # a busy machine makes no page shorter
    monkeypatch.setattr(deciding, "_SECONDS", 600.0)
    monkeypatch.setattr(listing, "_WINDOW", rng.randrange(1, 20))
    monkeypatch.setattr(deciding, "_WINDOW", rng.randrange(1, 20))
    monkeypatch.setattr(operation, "_MOST_LETTERS", rng.randrange(1, 6))
    world = World(rng)
    await world.write()
    for _ in range(12):
        await rng.choice([world.write, world.decide, world.decide])()
        await world.check()
