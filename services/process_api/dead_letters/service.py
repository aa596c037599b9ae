"""What operators do with dead letters: list, show, replay and drop them."""

import logging
import random
import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from prometheus_client import CollectorRegistry, Counter

from services.process_api.dead_letters import views
from services.process_api.dead_letters.cursor import Cursor, parse_cursor
from services.process_api.dead_letters.deciding import Decider
from services.process_api.dead_letters.decisions import Decision, Status
from services.process_api.dead_letters.listing import Lister
from services.process_api.dead_letters.operation import Operation
from services.process_api.dead_letters.places import Bounds, Place
from services.process_api.dead_letters.replays import PipelinesOf, Replays
from services.process_api.dead_letters.requests import DecideRequest, ListRequest
from services.process_api.dead_letters.rewound import Rewound
from services.process_api.dead_letters.scanning import DecisionLog
from services.process_api.operations.requests import Asked
from shared.bus.protocol import Bus
from shared.bus.topics import TopicsOptions
from shared.errors import Fenced, ProblemError
from shared.runtime.clock import Clock

logger = logging.getLogger(__name__)

_OPERATION_BYTES = 8


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a request, for the answer and the log."""

    body: dict[str, Any]
    operation: str


class DeadLetters:
    """The dead letters of a deployment."""

    def __init__(
        self,
        topics: TopicsOptions,
        pipelines_of: PipelinesOf,
        registry: CollectorRegistry,
        clock: Clock,
        rng: random.Random,
        asked: Callable[[], Awaitable[Asked]] | None = None,
    ) -> None:
        """`asked` returns what operators have asked of pipelines; without it, rewinds are not known."""
        self._asked = asked
        self._topic = topics.dead_letter
        self._replays = Replays(topics, pipelines_of)
        self._log = DecisionLog(topics)
        self._lister = Lister(self._topic, clock)
        self._decider = Decider(topics, self._log, clock, rng)
        self._clock = clock
        self._decided = Counter(
            "trelay_process_dead_letters_decided_total",
            "Dead letters that operators replayed or dropped through this replica.",
            ["decision"],
            registry=registry,
        )
        for status in (Status.REPLAYED, Status.DROPPED):
            self._decided.labels(status)

    async def page(self, bus: Bus, request: ListRequest) -> dict[str, Any]:
        """Return letters, and the cursor of those behind them.

        Raises:
            Unavailable: the bus does not answer.
            Malformed: the cursor is none of this request.
        """
        index = await self._log.refresh(bus)
        at = _place(request, index.epoch)
        page = await self._lister.page(bus, request, index, await bus.bounds(self._topic), at)
        return {"letters": page.letters, "cursor": _behind(request, index.epoch, page.at)}

    async def count(self, bus: Bus, request: ListRequest) -> dict[str, Any]:
        """Return how many letters there are, by what went wrong, and the cursor of those that are left.

        Raises:
            Unavailable: the bus does not answer.
            Malformed: the cursor is none of this request.
        """
        index = await self._log.refresh(bus)
        at = _place(request, index.epoch)
        groups, behind = await self._lister.count(bus, request, index, await bus.bounds(self._topic), at)
        return {**groups.shown(), "cursor": _behind(request, index.epoch, behind)}

    async def show(self, bus: Bus, place: Place) -> dict[str, Any]:
        """Return all that is known of one letter.

        Raises:
            Unavailable: the bus does not answer.
            ProblemError: there is no such letter.
        """
        index = await self._log.refresh(bus)
        letter = await self._lister.find(bus, place, await bus.bounds(self._topic))
        if letter is None:
            detail = f"there is no dead letter {place}, or retention has deleted it; GET /dead-letters lists them"
            raise ProblemError(detail, status=404, detail=detail, headers={}, members={})
        return views.whole(letter, index.of(place))

    async def decide(self, bus: Bus, request: DecideRequest, operator: str) -> Answer:
        """Replay or drop letters, or say what that would do; return how many, and the cursor of those that are left.

        Raises:
            Unavailable: the bus does not answer.
            Malformed: the cursor is none of this request.
            ProblemError: another replica decides at the same time, again and again.
        """
        epoch = await bus.epoch(self._topic)
        bounds = await bus.bounds(self._topic)
        if request.cursor is None:
            ends = {number: end for number, (_, end) in bounds.items()}
            began = int(self._clock.time() * 1000)
            cursor = Cursor(epoch, request.digest, None, ends, secrets.token_hex(_OPERATION_BYTES), began)
        else:
            cursor = parse_cursor(request.cursor, epoch, request.digest)
        decision = Decision(
            request.status,
            cursor.operation,
            operator,
            cursor.began,
            epoch,
            to=request.to,
            edited=request.edit is not None,
            reason=request.reason,
        )
        operation = Operation(request, decision, await self._replaying(bus, request), cursor.place)
        done = await self._run(bus, operation, _within(bounds, cursor.ends))
        return Answer(_body(operation, cursor, done=done), cursor.operation)

    async def _replaying(self, bus: Bus, request: DecideRequest) -> Replays:
        """Return what makes the records of replays, with the rewinds where they matter."""
        if self._asked is None or request.status is not Status.REPLAYED or request.channel is not None:
            return self._replays
        topic = self._replays.topics.ingest
        return replace(self._replays, rewound=Rewound(await self._asked(), topic, await bus.epoch(topic)))

    async def settle(self, bus: Bus) -> None:
        """End what a replica had in flight that was killed while it decided.

        Raises:
            Fenced, Unavailable: as for `Bus.writer`.
        """
        await self._decider.settle(bus)

    async def _run(self, bus: Bus, operation: Operation, bounds: Bounds) -> bool:
        try:
            return await self._decider.run(bus, operation, bounds, self._decided.labels(operation.request.status).inc)
        except Fenced as exc:
            detail = "another replica decides on dead letters at the same time; try again when it is done"
            raise ProblemError(detail, status=409, detail=detail, headers={"Retry-After": "5"}, members={}) from exc


def _place(request: ListRequest, epoch: str) -> Place | None:
    """Return where a request continues; None for one that begins."""
    return None if request.cursor is None else parse_cursor(request.cursor, epoch, request.digest).place


def _behind(request: ListRequest, epoch: str, at: Place | None) -> str | None:
    return None if at is None else Cursor(epoch, request.digest, (at.partition, at.offset)).encode()


def _within(bounds: Bounds, ends: Mapping[int, int]) -> Bounds:
    """Return the bounds without the letters that were written after an operation began."""
    return {number: (first, min(end, ends.get(number, first))) for number, (first, end) in bounds.items()}


def _body(operation: Operation, cursor: Cursor, *, done: bool) -> dict[str, Any]:
    request, tally = operation.request, operation.tally
    for place in operation.missing(done=done):
        tally.refuse(place, "there is no such letter, or retention has deleted it")
    at = None if operation.at is None else (operation.at.partition, operation.at.offset)
    behind = Cursor(cursor.epoch, cursor.request, at, cursor.ends, cursor.operation, cursor.began)
    beginning = Cursor(cursor.epoch, cursor.request, None, cursor.ends, cursor.operation, cursor.began)
    return {
        "dry_run": request.dry_run,
        "operation": cursor.operation,
        str(request.status): tally.decided,
        "refused": tally.refused,
        "refusals": [{"id": str(place), "reason": reason} for place, reason in tally.refusals],
        "decided_before": tally.earlier,
        "cursor": None if done else behind.encode(),
        "snapshot": beginning.encode(),
    }
