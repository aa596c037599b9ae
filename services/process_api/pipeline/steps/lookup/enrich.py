"""`- enrich: {file: {path: regions.csv}, key: region, into: data.region}`: adds what is looked up elsewhere."""

from collections.abc import Mapping, Sequence
from typing import ClassVar

from services.process_api.pipeline.draft import Draft, traceparent_of
from services.process_api.pipeline.paths import parse, put
from services.process_api.pipeline.steps.context import StepContext
from services.process_api.pipeline.steps.lookup.answered import AnsweredBackend
from services.process_api.pipeline.steps.lookup.cache import Cache
from services.process_api.pipeline.steps.lookup.http import HttpBackend
from services.process_api.pipeline.steps.lookup.keys import Key, key_of
from services.process_api.pipeline.steps.lookup.lookups import Answer, Backend, Lookups
from services.process_api.pipeline.steps.lookup.options import EnrichSettings, FileLookup
from services.process_api.pipeline.steps.scope import Scope
from services.process_api.pipeline.steps.step import AnyStep, Example, StepOptions
from shared.errors import Malformed, Unavailable
from shared.expression.document import JsonDocument
from shared.expression.expression import Expression
from shared.expression.nodes import Node, Raw

_SHOWN = 80


class EnrichOptions(StepOptions):
    """Adds to each event what is looked up in a database, at an HTTP API or in a file."""

    kind: ClassVar = "enrich"
    example: ClassVar = Example(
        "enrich: {file: {path: customers.csv}, key: customer, into: data.customer}",
        [
            (
                {"data": {"id": 7, "customer": "C-9"}},
                [{"data": {"id": 7, "customer": {"id": "C-9", "name": "Ada", "tier": "gold"}}}],
            ),
            ({"data": {"id": 8, "customer": "C-1"}}, [{"data": {"id": 8, "customer": "C-1"}}]),
        ],
        files={"customers.csv": "id,name,tier\nC-9,Ada,gold\n"},
    )

    enrich: EnrichSettings
    """The look-up. One query or request serves the events of a batch, and events at the same time that need the same
    key share one. A system that does not answer holds the partition, and no other. A key that a query refuses, or on
    whose rows it fails, and an answer that cannot be used or is too large, sends the event to the dead letter. A replay
    may find another value."""

    def expressions(self) -> list[str]:
        return [self.enrich.key, *([self.enrich.merge] if self.enrich.merge else [])]

    def build(self, context: StepContext) -> AnyStep:
        settings = self.enrich
        merging = _Merging(settings)
        if settings.file is not None:
            return EnrichFromFile(settings, settings.file, merging)
        if settings.sql is not None:
            from services.process_api.pipeline.steps.lookup.sql import (  # noqa: PLC0415 -- SQLAlchemy takes long to import
                SqlBackend,
            )

            backend: Backend = SqlBackend(settings.sql, context)
            size = settings.sql.batch_size
        else:
            assert settings.http is not None, "one of the three is set"
            backend = HttpBackend(settings.http, context)
            size = settings.http.batch.size if settings.http.batch else settings.http.max_concurrent
        if context.answers is not None:
            backend = AnsweredBackend(backend, context.answers, context.place, queries=settings.sql is not None)
        return Enrich(settings, Lookups(backend, Cache(settings.cache), context.clock, size), merging, context)


class Enrich:
    """Looks up in another system."""

    def __init__(self, settings: EnrichSettings, lookups: Lookups, merging: "_Merging", context: StepContext) -> None:
        self._key = Expression(settings.key)
        self._lookups = lookups
        self._merging = merging
        self._context = context
        self._traces = context.tracing.on or (settings.http is not None and settings.http.propagate_trace)

    async def apply_batch(
        self, drafts: Sequence[Draft], scope: Scope
    ) -> Sequence[Sequence[Draft] | Malformed | Unavailable]:
        turns = scope.turns
        keys: list[Key | Malformed | None] = []
        for draft in drafts:
            keys.append(_key(self._key, draft))
            if turns.due():
                await turns.rest()
        # Reading the attribute costs as much as the key: not for nothing.
        traceparents = (traceparent_of(draft) for draft in drafts) if self._traces else ()
        with self._context.following(traceparents):
            answers = await self._lookups.get([key for key in keys if isinstance(key, Key)])
        turns.waited()
        outcomes: list[Sequence[Draft] | Malformed | Unavailable] = []
        for draft, key in zip(drafts, keys, strict=True):
            outcomes.append(self._outcome(draft, key, answers))
            if turns.due():
                await turns.rest()
        return outcomes

    def apply_known(self, draft: Draft) -> Sequence[Draft]:
        key = key_of(self._key.value(draft))
        self._merging.merge(draft, key, None if key is None else self._lookups.known(key.name))
        return (draft,)

    def _outcome(
        self, draft: Draft, key: Key | Malformed | None, answers: Mapping[str, Answer]
    ) -> Sequence[Draft] | Malformed | Unavailable:
        answer = answers[key.name] if isinstance(key, Key) else key
        if isinstance(answer, Malformed | Unavailable):
            return answer
        try:
            self._merging.merge(draft, key if isinstance(key, Key) else None, answer)
        except Malformed as exc:
            return exc
        return (draft,)


class EnrichFromFile:
    """Looks up in a table in memory."""

    def __init__(self, settings: EnrichSettings, file: FileLookup, merging: "_Merging") -> None:
        self._key = Expression(settings.key)
        self._table = file.table
        self._merging = merging

    def apply(self, draft: Draft) -> Sequence[Draft]:
        key = key_of(self._key.value(draft))
        self._merging.merge(draft, key, None if key is None else self._table.get(key.name))
        return (draft,)


class _Merging:
    """What becomes of the answer to a look-up."""

    def __init__(self, settings: EnrichSettings) -> None:
        self._into = parse(settings.into)
        self._merge = None if settings.merge is None else Expression(settings.merge)
        self._missing = settings.missing

    def merge(self, draft: Draft, key: Key | None, found: bytes | None) -> None:
        """Set what was found, or do what the settings want where nothing was.

        Raises:
            Malformed: the event cannot pass.
        """
        if found is not None and self._merge is not None:
            found = self._merge.value(_Found(found, draft))
        if found is not None:
            put(draft, self._into, Raw(found))
        elif self._missing == "null":
            put(draft, self._into, Raw(b"null"))
        elif self._missing == "dead_letter":
            shown = "no key" if key is None else f"the key {key.name[:_SHOWN]!r}"
            raise Malformed(f"nothing is found for {shown}; expected a value (see `missing`)")


class _Found:
    """What was found, with the attributes of the event."""

    def __init__(self, text: bytes, draft: Draft) -> None:
        self._document = JsonDocument(text)
        self._draft = draft

    def data(self) -> Node:
        return self._document.data()

    def data_text(self) -> bytes:
        return self._document.data_text()

    def attributes(self) -> Mapping[str, Raw]:
        return self._draft.attributes()


def _key(expression: Expression, draft: Draft) -> Key | Malformed | None:
    try:
        return key_of(expression.value(draft))
    except Malformed as exc:
        return exc
