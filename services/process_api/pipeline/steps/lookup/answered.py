"""Looks keys up in given answers before another system is asked: for tests of pipelines."""

from collections.abc import Sequence

from services.process_api.pipeline.steps.context import Answers
from services.process_api.pipeline.steps.lookup.keys import Key
from services.process_api.pipeline.steps.lookup.lookups import Backend, Found
from shared.errors import TrelayError


class AnsweredBackend:
    """A `Backend` whose answers are given, and another one for the rest."""

    def __init__(self, backend: Backend, answers: Answers, place: str, *, queries: bool) -> None:
        """`place` is that of the step; `queries` is whether `backend` is a database, else it sends requests."""
        self._backend = backend
        self._answers = answers
        self._place = place
        self._queries = queries

    async def fetch(self, keys: Sequence[Key]) -> Found:
        """Return what is found for these keys; raises as `Backend.fetch` does."""
        found: dict[str, bytes | TrelayError] = {}
        rest: list[Key] = []
        for key in keys:
            answer = self._answers.of_key(self._place, key.name)
            if answer is None:
                rest.append(key)
            elif answer.value is not None:
                found[key.name] = answer.value
        if self._queries:
            for key in rest:
                self._answers.check_query(self._place, key.name)
        return {**found, **(await self._backend.fetch(rest))} if rest else found
