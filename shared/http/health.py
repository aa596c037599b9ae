"""Whether traffic may come: the sum of what those who connect report, and nothing else.

Liveness is not decided here: a process that answers is alive, whatever Kafka, PostgreSQL or the mail server do. To
restart it would not bring those back.
"""

import logging
from collections.abc import Callable, Mapping
from typing import Any

logger = logging.getLogger(__name__)

Probe = Callable[[], str | None]
"""Says what is wrong right now, None if nothing is. Asked at every look, so it must be cheap and must not wait."""


class NotYet(str):
    """A reason that is shown and not logged, for the one that names what is waited for is still to come."""

    __slots__ = ()


class Readiness:
    """Which parts must be connected before traffic may come, and what keeps those that are not."""

    def __init__(self) -> None:
        self._required: dict[str, Probe | str | None] = {}
        self._notes: dict[str, Probe | str | None] = {}
        self._said: dict[str, bool] = {}
        self.draining = False
        """Set when the service begins to stop: from then on it is not ready, whatever is connected."""

    def require(self, part: str, probe: Probe | None = None) -> None:
        """Declare a part that must be connected. It is not until `report` says so, or its probe does."""
        self._required[part] = probe or "not connected yet"

    def note(self, part: str, probe: Probe | None = None) -> None:
        """Declare a part whose trouble is told and changes nothing: a mail server, one source of many."""
        self._notes[part] = probe

    def report(self, part: str, trouble: str | None) -> None:
        """Say what is wrong with a declared part, None if it works.

        Logged once when trouble begins and once when it ends, however often it is reported.

        Raises:
            KeyError: the part was not declared.
        """
        parts = self._required if part in self._required else self._notes
        if part not in parts:
            raise KeyError(f"{part} was not declared")
        parts[part] = trouble
        if part in self._notes:
            # That it works from the beginning is no news, and that it does not is.
            self._said.setdefault(part, True)
        self._say(part, trouble)

    def missing(self) -> dict[str, str]:
        """Return the parts that are required and not connected, each with its reason."""
        return self._troubles(self._required)

    def notes(self) -> dict[str, str]:
        """Return what else is wrong, by part."""
        return self._troubles(self._notes)

    @property
    def ready(self) -> bool:
        """Whether traffic may come."""
        return not self.draining and not self.missing()

    def parts(self) -> dict[str, bool]:
        """Return every declared part and whether it works."""
        wrong = {**self.missing(), **self.notes()}
        return {part: part not in wrong for part in (*self._required, *self._notes)}

    def describe(self) -> dict[str, Any]:
        """Return what `/readyz` answers."""
        missing = self.missing()
        return {
            "ready": not self.draining and not missing,
            "draining": self.draining,
            "missing": missing,
            "notes": self.notes(),
        }

    def _troubles(self, parts: Mapping[str, Probe | str | None]) -> dict[str, str]:
        found: dict[str, str] = {}
        for part, state in parts.items():
            trouble = state() if callable(state) else state
            if callable(state):
                self._say(part, trouble)
            if trouble is not None:
                found[part] = trouble
        return found

    def _say(self, part: str, trouble: str | None) -> None:
        if isinstance(trouble, NotYet):
            return
        works = trouble is None
        if self._said.get(part, works) != works or (part not in self._said and part in self._required):
            if works:
                logger.info("%s is connected", part, extra={"part": part})
            else:
                logger.warning("waiting for %s: %s", part, trouble, extra={"part": part})
        self._said[part] = works
