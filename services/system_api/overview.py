"""All sources of the deployment, as any replica shows them: those of its own, and what their owners have published."""

from collections.abc import Mapping
from typing import Any

from services.system_api.operations.controls import Controls
from services.system_api.operations.requests import Control, Outcome, Request
from services.system_api.operations.store import SharedStatus, SourceStore
from services.system_api.supervisor.description import describe, with_age
from services.system_api.supervisor.reporting import Reporter
from services.system_api.supervisor.status import SourceStatus, State
from shared.errors import Unavailable
from shared.lease import Held, LeaseStore
from shared.runtime.clock import Clock, rfc3339

_PREFIX = "source/"


class Overview:
    """What `GET /sources` shows."""

    def __init__(
        self,
        reporters: Mapping[str, Reporter],
        controls: Controls,
        store: SourceStore,
        leases: LeaseStore,
        node: str,
        clock: Clock,
    ) -> None:
        self._reporters = reporters
        self._controls = controls
        self._store = store
        self._leases = leases
        self._node = node
        self._clock = clock
        self._shared: Mapping[str, SharedStatus] = {}
        self._held: Mapping[str, Held] = {}

    async def all(self) -> dict[str, dict[str, Any]]:
        """Return all sources by name; while the database does not answer, those of others are as they were last."""
        stale = False
        try:
            self._shared = await self._store.statuses()
            self._held = {held.name.removeprefix(_PREFIX): held for held in await self._leases.held(_PREFIX)}
        except Unavailable:
            stale = True
        return {name: self._one(name, reporter.measure(), stale=stale) for name, reporter in self._reporters.items()}

    def _one(self, name: str, status: SourceStatus, *, stale: bool) -> dict[str, Any]:
        now = self._clock.time()
        control = _control(self._controls.of(name).current)
        if status.epoch is not None:
            return _owned(self._node, status.epoch, now) | describe(status, now) | control
        held, shared = self._held.get(name), self._shared.get(name)
        known = with_age(dict(shared.status), now) if shared is not None else describe(status, now)
        # What the last owner published says where the source is, but no longer what it does.
        if held is None:
            known |= {"state": status.state if status.state is State.BLOCKED else State.STANDBY, "error": status.error}
        elif shared is None or shared.epoch != held.epoch:
            known |= {"state": State.STARTING}
        at = None if shared is None else rfc3339(shared.at)
        owner = {"owner": held and held.owner, "epoch": held and held.epoch, "as_of": at, "stale": stale}
        return owner | known | control


def _owned(node: str, epoch: int, now: float) -> dict[str, Any]:
    return {"owner": node, "epoch": epoch, "as_of": rfc3339(now), "stale": False}


def _control(control: Control) -> dict[str, Any]:
    paused = None
    if control.paused:
        at = None if control.at is None else rfc3339(control.at)
        paused = {"by": control.by, "reason": control.reason, "at": at}
    return {"paused": paused, "request": control.request and _request(control.request, control.outcome)}


def _request(request: Request, outcome: Outcome | None) -> dict[str, Any]:
    described = {
        "command": request.command,
        "generation": request.generation,
        "to": request.place,
        "by": request.by,
        "at": rfc3339(request.at),
    }
    if outcome is None or outcome.generation < request.generation:
        return described | {"state": "pending"}
    if outcome.error is not None:
        return described | {"state": "failed", "error": outcome.error, "ended_at": rfc3339(outcome.at)}
    return described | {"state": "done", "result": dict(outcome.result), "ended_at": rfc3339(outcome.at)}
