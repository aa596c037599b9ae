"""Interrupts a coroutine where it waits: errors are thrown into it, each after a number of waits."""

from collections.abc import Coroutine, Generator
from typing import Any

Interruptions = list[tuple[int, BaseException]]
"""Each is a number of waits since the one before, and what is thrown then; used up from the front."""


class Interrupted:
    """Runs a coroutine, and throws the next of `interruptions` into it whenever it has waited so often."""

    def __init__(self, work: Coroutine[Any, Any, None], interruptions: Interruptions) -> None:
        self._work = work
        self._interruptions = interruptions
        self._waits = 0
        self.total_waits = 0
        """How often it has waited."""

    def __await__(self) -> Generator[Any, Any, None]:
        """Run it."""
        thrown: BaseException | None = None
        while True:
            try:
                waited_for = self._work.send(None) if thrown is None else self._work.throw(thrown)
            except StopIteration:
                return
            self._waits += 1
            self.total_waits += 1
            if self._interruptions and self._waits >= self._interruptions[0][0]:
                thrown = self._interruptions.pop(0)[1]
                self._waits = 0
                continue
            thrown = None
            try:
                yield waited_for
            except BaseException as exc:  # noqa: BLE001 -- handed on to where it belongs
                thrown = exc
