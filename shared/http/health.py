"""Whether traffic may come: decided by what each part of a service reports, and by nothing else.

Liveness is not decided here: a process that answers is alive, whatever Kafka, PostgreSQL or the mail server do. A
restart would not bring those back.
"""

import logging
from collections.abc import Callable, Mapping
from typing import Any

from shared.runtime.clock import SYSTEM_CLOCK, Clock

logger = logging.getLogger(__name__)

Probe = Callable[[], str | None]
"""Returns what is wrong now, None if nothing is. Called at every look: it must be cheap and must not wait."""


class NotYet(str):
    """A reason that is shown and not logged: the part that it waits for has a log line of its own."""

    __slots__ = ()


WITHOUT_REASON = "unavailable"
"""Takes the place of every reason where strangers may read it."""


class Readiness:
    """Which parts must be connected before traffic may come, and what is wrong with those that are not.

    A part has a `snake_case` name, which is also the label `part` of `trelay_part_connected`. One outage is logged
    once when it begins and once when it ends, however often it is reported.
    """

    def __init__(self, clock: Clock = SYSTEM_CLOCK) -> None:
        self._clock = clock
        self._required: dict[str, list[Probe]] = {}
        self._always: set[str] = set()
        """Those without which the service is never ready; without the others it stays ready once it was."""
        self._started = False
        self._notes: dict[str, list[Probe]] = {}
        self._reported: dict[str, str | None] = {}
        self._outages: dict[str, float | None] = {}
        """By part that was logged: since when it is unavailable, None if it is connected."""
        self.draining = False
        """Set when the service begins to stop: from then on it is not ready, whatever is connected."""

    def require(self, part: str, probe: Probe | None = None, *, at_start: bool = False) -> None:
        """Declare a part that must be connected. It is not, until `report` or its probe says so.

        With `at_start`, an outage of it is reported all the same, and a service that was ready once stays ready: it
        still serves traffic, and an outage of what all replicas share would leave a load balancer without any of them.

        Services that share a part declare it once each: it is connected when it is for all of them.
        """
        if not at_start:
            self._always.add(part)
        if probe is None:
            self._reported[part] = "not connected yet"
        self._required.setdefault(part, []).append(probe or (lambda: self._reported[part]))

    def note(self, part: str, probe: Probe | None = None) -> None:
        """Declare a part that is shown and does not make the service unready: a mail server, one source of many.

        What a probe finds is not logged here: the part logs it itself.
        """
        if probe is None:
            self._reported[part] = self._outages[part] = None
        self._notes.setdefault(part, []).append(probe or (lambda: self._reported[part]))

    def report(self, part: str, problem: str | None) -> None:
        """Say what is wrong with a part that was declared without a probe, None if nothing is.

        Raises:
            KeyError: the part was not declared.
        """
        if part not in self._reported:
            raise KeyError(f"{part} was not declared")
        self._reported[part] = problem
        self._log(part, problem)

    def missing(self) -> dict[str, str]:
        """Return the parts that are required and not connected, each with its reason."""
        return self._problems(self._required, logged=True)

    def notes(self) -> dict[str, str]:
        """Return what else is wrong, by part."""
        return self._problems(self._notes, logged=False)

    @property
    def ready(self) -> bool:
        """Whether traffic may come."""
        return self._ready(self.missing())

    def parts(self) -> dict[str, bool]:
        """Return every declared part and whether it is connected."""
        wrong = {**self.missing(), **self.notes()}
        return {part: part not in wrong for part in (*self._required, *self._notes)}

    def describe(self, *, reasons: bool = True) -> dict[str, Any]:
        """Return the body of `/readyz`. Without `reasons`, which may name addresses, each is the same word."""
        missing = self.missing()
        problems = {"missing": missing, "notes": self.notes()}
        if not reasons:
            problems = {kind: dict.fromkeys(parts, WITHOUT_REASON) for kind, parts in problems.items()}
        return {"ready": self._ready(missing), "draining": self.draining, **problems}

    def _ready(self, missing: Mapping[str, str]) -> bool:
        self._started |= not missing
        return not self.draining and not (missing.keys() & self._always if self._started else missing)

    def _problems(self, parts: Mapping[str, list[Probe]], *, logged: bool) -> dict[str, str]:
        found: dict[str, str] = {}
        for part, probes in parts.items():
            problem = next((problem for probe in probes if (problem := probe()) is not None), None)
            if logged and part not in self._reported:
                self._log(part, problem)
            if problem is not None:
                found[part] = problem
        return found

    def _log(self, part: str, problem: str | None) -> None:
        if isinstance(problem, NotYet):
            return
        now = self._clock.monotonic()
        since = self._outages.get(part)
        if problem is not None and since is None:
            logger.warning("unavailable", extra={"component": part, "error": problem})
            self._outages[part] = now
        elif problem is None and (since is not None or part not in self._outages):
            after = {} if since is None else {"after_s": round(now - since, 1)}
            logger.info("connected", extra={"component": part, **after})
            self._outages[part] = None
