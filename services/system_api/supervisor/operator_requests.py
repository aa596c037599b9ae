"""Carries out what an operator asked of a source: by its owner, with the owner's writer, exactly once.

The generation of the request is committed in the transaction that carries it out. A crash before the commit repeats the
request, one after it does not; a replica that lost the source is fenced by its writer.
"""

import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple

from services.system_api.operations.checkpoints import PART, OwnPart, changes, checkpoint_key
from services.system_api.operations.controls import SourceControl
from services.system_api.operations.requests import Command, Outcome, Request, parse_place
from services.system_api.operations.rewinding import described
from services.system_api.sources.capabilities import Place
from services.system_api.sources.source import Checkpoint
from services.system_api.supervisor.publisher import bus_errors
from shared.bus.protocol import Transaction, Writer
from shared.errors import TrelayError, Unavailable
from shared.runtime import failpoints
from shared.runtime.clock import Clock

logger = logging.getLogger(__name__)


class Saved(NamedTuple):
    """The checkpoint of a source as it is committed."""

    own: OwnPart
    checkpoint: Checkpoint
    """The source's parts."""


class OperatorRequests:
    """The requests for one source."""

    def __init__(self, source: str, control: SourceControl, topic: str, clock: Clock) -> None:
        """`topic` is that of the checkpoints."""
        self._source = source
        self._control = control
        self._topic = topic
        self._clock = clock
        self._fields: dict[str, object] = {"component": "source", "source": source}

    async def rewind(self, saved: Saved, writer: Writer, plan: Callable[[Place], Awaitable[Checkpoint]]) -> Saved:
        """Carry out a rewind that was asked for; return what is committed then.

        `plan` returns the checkpoint of a place. What it raises, other than an unavailable bus or upstream, is the
        outcome of the request.
        """
        request = self._control.current.pending
        if request is None:
            return saved
        if request.generation <= saved.own.generation:
            await self._settle(request, {"note": "carried out before a restart"})
            return saved
        if request.command is not Command.REWIND:
            return saved
        try:
            after = await plan(parse_place(json.loads(request.place or "null")))
        except Unavailable:
            raise
        except Exception as exc:  # noqa: BLE001 -- whatever it is, it is the outcome
            known = isinstance(exc, TrelayError)
            await self._refuse(request, str(exc) if known else f"{type(exc).__name__}: {exc}", unexpected=not known)
            return saved
        own = saved.own.carried_out(request.generation)
        transaction = Transaction()
        for part, value in (changes(saved.checkpoint, after) | {PART: own.save()}).items():
            transaction.append(self._topic, checkpoint_key(self._source, part), value)
        with bus_errors():
            await writer.commit(transaction)
        failpoints.reach("system.rewound")
        result = described(saved.checkpoint, after)
        logger.warning("source rewound", extra=self._fields | {"by": request.by, "to": request.place})
        await self._settle(request, result)
        return Saved(own, after)

    @property
    def snapshot(self) -> Request | None:
        """The snapshot that is still to be begun."""
        request = self._control.current.pending
        return request if request is not None and request.command is Command.SNAPSHOT else None

    async def refuse_snapshot(self, request: Request, error: str) -> None:
        """Note that a snapshot cannot be begun."""
        await self._refuse(request, error, unexpected=False)

    async def snapshot_begun(self, request: Request) -> None:
        """Note that a snapshot has begun."""
        logger.warning("source snapshot begun", extra=self._fields | {"by": request.by})
        await self._settle(request, {})

    async def _refuse(self, request: Request, error: str, *, unexpected: bool) -> None:
        fields = self._fields | {"by": request.by, "command": request.command, "error": error}
        logger.error("operator request failed", extra=fields, exc_info=unexpected)
        await self._settle(request, {}, error)

    async def _settle(self, request: Request, result: Mapping[str, Any], error: str | None = None) -> None:
        try:
            await self._control.settle(Outcome(request.generation, error, result, self._clock.time()))
        except Unavailable as exc:
            # It is repeated; after a restart, the next run finds the generation in the checkpoint.
            logger.warning("could not note outcome of request", extra=self._fields | {"error": str(exc)})
